"""Exchanges: the codes by which symbols name them, and the calendar of each.

The tables are copies of maintained ones, so that a symbol is judged without importing the packages:
the names and aliases of exchange_calendars, and Yahoo's suffixes by market identifier code (ISO
10383) from yfinance. Tests compare them with the packages.
"""

from __future__ import annotations

from collections.abc import Mapping

_CALENDARS = (
    "AIXK ASEX BVMF CMES IEPA XAMS XASX XBDA XBEL XBKK XBOG XBOM XBRA XBRU XBSE XBUD "
    "XBUE XCBF XCSE XCYS XDUB XDUS XEEE XETR XEUR XFRA XHAM XHEL XHKG XICE XIDX XIST "
    "XJSE XKAR XKLS XKRX XLIM XLIS XLIT XLJU XLON XLUX XMAD XMEX XMIL XMOS XNYS XNZE "
    "XOSL XPAR XPHS XPRA XRIS XSAU XSES XSGO XSHG XSTO XSTU XSWX XTAE XTAI XTAL XTKS "
    "XTSE XWAR XWBO XZAG"
)
CALENDARS = frozenset(_CALENDARS.split())
"""The calendars of exchange_calendars, each named by a market identifier code, or like one."""

ALIASES: Mapping[str, str] = {
    "ARCX": "XNYS",
    "ASX": "XASX",
    "BATS": "XNYS",
    "BMF": "BVMF",
    "BSE": "XBOM",
    "BVB": "XBSE",
    "CBOT": "CMES",
    "CFE": "XCBF",
    "CME": "CMES",
    "COMEX": "CMES",
    "FWB": "XFRA",
    "HKEX": "XHKG",
    "ICE": "IEPA",
    "ICEUS": "IEPA",
    "JKT": "XIDX",
    "JPX": "XTKS",
    "LSE": "XLON",
    "LUXSE": "XLUX",
    "NASDAQ": "XNYS",
    "NYFE": "IEPA",
    "NYMEX": "CMES",
    "NYSE": "XNYS",
    "OOTC": "XNYS",
    "OSE": "XOSL",
    "SIX": "XSWX",
    "SSE": "XSHG",
    "TASE": "XTAE",
    "TSX": "XTSE",
    "XASE": "XNYS",
    "XNAS": "XNYS",
    "XTSX": "XTSE",
}
"""Other names of exchanges, as exchange_calendars has them, and their calendars."""

SUFFIXES: Mapping[str, str] = {
    "AS": "XAMS",
    "AT": "XATH",
    "AX": "XASX",
    "BA": "XBUE",
    "BD": "XBUD",
    "BK": "XBKK",
    "BO": "XBOM",
    "BR": "XBRU",
    "CL": "XBOG",
    "CN": "CNSX",
    "CO": "XCSE",
    "DE": "XETR",
    "DU": "XDUS",
    "F": "XFRA",
    "HE": "XHEL",
    "HK": "XHKG",
    "HM": "XHAM",
    "IC": "XICE",
    "IL": "ILSE",
    "IR": "XDUB",
    "IS": "XIST",
    "JK": "XIDX",
    "JO": "XJSE",
    "KL": "XKLS",
    "KQ": "KQKS",
    "KS": "XKRX",
    "L": "XLON",
    "LS": "XLIS",
    "MC": "BMEX",
    "MI": "MTAA",
    "MX": "XMEX",
    "NE": "NEOE",
    "NS": "XNSE",
    "NZ": "XNZE",
    "OL": "XOSL",
    "PA": "XPAR",
    "PS": "XPHS",
    "RG": "XRIS",
    "RO": "XBSE",
    "SA": "BVMF",
    "SG": "XSTU",
    "SI": "XSES",
    "SN": "XSGO",
    "SR": "XSAU",
    "SS": "XSHG",
    "ST": "XSTO",
    "SW": "XSWX",
    "SZ": "XSHE",
    "T": "XTKS",
    "TA": "XTAE",
    "TL": "XTAL",
    "TO": "XTSE",
    "TW": "XTAI",
    "TWO": "ROCO",
    "V": "XTSX",
    "VI": "XVIE",
    "WA": "XWAR",
}
"""Yahoo's suffixes (``VOD.L``, ``7203.T``) of exchanges with a calendar, and their codes."""

SAME_HOURS: Mapping[str, str] = {
    "BMEX": "XMAD",
    "CNSX": "XTSE",
    "ILSE": "XLON",
    "KQKS": "XKRX",
    "MTAA": "XMIL",
    "NEOE": "XTSE",
    "ROCO": "XTAI",
    "XATH": "ASEX",
    "XNSE": "XBOM",
    "XSHE": "XSHG",
    "XVIE": "XWBO",
}
"""Codes without a calendar of that name, and the calendar with the same sessions and holidays."""

AMBIGUOUS = frozenset({"PR"})
"""Suffixes with two meanings: ``.PR`` is Prague, and a preferred share in New York."""

OF_MANY_HOURS = frozenset({"CMES", "IEPA", "XCBF", "XEEE", "XEUR"})
"""Exchanges of futures: each product has sessions of its own, and some never close."""


def calendar_of_code(code: str) -> str | None:
    """Return the calendar of the exchange with this *code*, or ``None`` where none fits all."""
    name = SAME_HOURS.get(code, code)
    name = ALIASES.get(name, name)
    return name if name in CALENDARS - OF_MANY_HOURS else None


def calendar_of_suffix(suffix: str) -> str | None:
    """Return the calendar of the exchange that the *suffix* of a symbol names, or ``None``."""
    return calendar_of_code(SUFFIXES.get(suffix, suffix))
