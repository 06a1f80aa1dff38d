"""The public surfaces: what they export, and that each is complete by itself."""

from __future__ import annotations

import importlib

import pytest

from argo_mw.plugin import Operation
from tests.architecture.signatures import classes_in_signatures

SURFACES = {
    "argo_mw": """
        Action AllUpstreamsFailed AllUpstreamsRefused Argo ArgoError ArgoSettings Attempt
        BadCall BadParameter BlockingArgo BlockingCaller BrokenPlugin BudgetExceeded CallCycle Caller
        CircuitOpen Clock Closed ConfigError Cost DeadlineExceeded Explained InvalidAnswer
        LayerUnavailable NotCopyable NotEncodable NotFound NotShareable Note OperationSettings Options
        Outcome PluginError
        QuotaExceeded Refusal ScopeConflict Secret SecretUrl Settings SharedUnavailable StreamAborted
        Timer UnknownOperation Unsupported UpstreamError UpstreamSettings Wrapping
    """,
    "argo_mw.plugin": """
        ASKED_AT Asker Flag FlagControl Rule ShadowResult Shadowed flags_of
        Button ButtonNow Column InstanceNow Journal JournalEntry LayerNow Line OperationNow Overview Panel PanelNow
        Panels Plot ProgramsNow Shape Tone Unit UpstreamNow View
        AUDIT BLAMELESS Block Counters CountersOf Counts Histogram InstanceCounts SubjectCounts Watch moved total
        ModelCounts UpstreamCounts add_trace dollars freeze_heap html_grid html_table log_form set_up_log
        OpenSpread Spread
        ALONE Action AllUpstreamsFailed AllUpstreamsRefused AnswerSeen AnsweredCall AnyOperation
        Argo ArgoError ArgoSettings Attempt AttemptEnded BadCall BadParameter Batching
        BrokenPlugin BudgetExceeded Call CallCycle CallEnded Caller Cell Charge ChargeStatus
        CircuitOpen Claim ClaimWanted Claims Clock Closed Codecs ConfigError Context Cost CostTable CostTotals Count
        CountingGuard DeadlineExceeded Decision DecisionReason DryRunGuard Duration ENDS_WITH_CALLERS EncryptionKeys
        Envelope Epoch Epochs Event Events Explained Found Freshness Gauge GiveBacks Guard HANDOVER Handover InvalidAnswer
        Kept Kind Layer MemoryShares Size LayerActed LayerBypassed LayerUnavailable Lease Left Limits Lineage Log
        Middleware NO_COST Next NotCopyable NotEncodable NotFound NotShareable Note ON_SENT OWN_FAILURES
        Observer Operation OperationSettings Outcome OutcomeCopies PartlyFailed PluginError
        PluginTemplate Probe QuotaExceeded Reconfigured Recording Refresh Refusal Request
        RequestSent RequestSettled Result Row Runtime SLOTS Scope ScopeConflict Secret
        SecretUrl Settings Shared SharedUnavailable Shown StallAwareLimit Stream
        StreamAborted Subscription SystemClock TagSnapshot TagVersions Tasks
        TimeLimitExceeded TimeOrderedIds Timer Trouble Turns UNLIMITED Undecodable
        UndecodableReason UnknownOperation Unsupported Upstream UpstreamError
        UpstreamSettings Witness Write all_failed collect config_of context_of copy_error fail_at
        fingerprint hookimpl hookspec is_failure is_final is_time_limit layers_of observe observes operation
        own_value plugin_of printable redact redact_url scope_of seconds stall_aware_timeout state_directory structure
        suggest WebGuard WebRefusal bearer_token is_loopback load_or_create_token HostNames is_cross_site
        MICROSECONDS from_utc iso_time micros timestamp_of
        Endpoint WebCall WebCaller WebRequest WebResponse WebStream plain_refusal endpoints_of
        Standing StandingGuard SPENDING_LIMIT SpendingLimit WriteLimit error_for_client is_of_balancer leaves_answers_alone limited_wait locked_file replace_file
    """,
    "argo_mw.store": """
        Ability Availability Clock Closed Codecs ConfigError Count EPOCH_KEY EVERYTHING EncryptionKeys Envelope
        Epoch EpochChanged Epochs Freshness GiveBacks Lease LoopAffinity NotEncodable
        NotShareable OpenShared Secret Shared SharedUnavailable Snapshot SqliteIdentity StoreHealth
        Subscription SystemClock TagSnapshot TagVersions Tasks Timer Undecodable UndecodableReason
        WITNESS_TTL Witness Write acquire_then_get check_count check_items check_key check_keys check_ttl check_value claim epoch_key get_then_acquire open_shared part_of settle_in_steps snapshot
    """,
    "argo_mw.testing": """
        Captured FakeClock FakePlugin FakeService GuardConformance GuardUnderTest
        LayerConformance MakeGuard OperationConformance RefusingStore Scripted
        SlowStore UnreachableStore UpstreamConformance blocking_calls capture_events settle
    """,
    "argo_mw.cli": """
        ExitCode console current_settings echo ending_signals no_commands no_flags own_flag
        print_json say spread with_argo
    """,
    "argo_mw.openfeature": """
        ArgoProvider Variants
    """,
}
"""The reviewed names of each surface: change one here only with a reason, and its reference page."""

COMPLETE = ("argo_mw", "argo_mw.plugin", "argo_mw.store")
"""Surfaces that need no other; the rest builds on these."""

DECLARED = {"argo_mw": {Operation}}
"""What a surface takes and does not export: callers ask declarations that plugins have made."""


def exported(surface: str) -> set[object]:
    """The classes that *surface* exports."""
    module = importlib.import_module(surface)
    found = (getattr(module, name) for name in module.__all__)
    return {one for one in found if isinstance(one, type)}


@pytest.mark.parametrize("surface", SURFACES)
def test_the_surface_exports_the_reviewed_names(surface: str) -> None:
    assert sorted(SURFACES[surface].split()) == sorted(importlib.import_module(surface).__all__)


@pytest.mark.parametrize("surface", SURFACES)
def test_types_in_public_signatures_can_be_imported_from_the_surface(surface: str) -> None:
    module = importlib.import_module(surface)
    surfaces = (surface,) if surface in COMPLETE else (surface, *COMPLETE)
    known = {cls for one in surfaces for cls in exported(one)} | DECLARED.get(surface, set())
    missing = {
        f"{cls.__module__}.{cls.__qualname__}, used by {name}"
        for name in module.__all__
        for cls in classes_in_signatures(getattr(module, name)) - known
    }
    assert set() == missing


def test_the_callers_surface_stays_small() -> None:
    assert len(SURFACES["argo_mw"].split()) <= 47
