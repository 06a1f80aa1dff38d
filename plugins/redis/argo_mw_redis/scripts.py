"""Operations that must be atomic, in Lua, on the server.

Redis counts in doubles here, exact up to 2**53; the core bounds amounts and limits to that.
A fence is the larger of the last one plus one and the server's time in microseconds, so that it
grows even when the server has forgotten the last one.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

from attrs import field, frozen


@frozen
class Script:
    """A Lua script.

    Attributes:
        text: The script.
        sha: The digest by which the server knows it.
    """

    text: bytes
    sha: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        digest = sha1(self.text, usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest.encode())


COMPARE_AND_SET: Final = Script(
    b"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
)

# KEYS: the counter, the epoch, maybe the witness. ARGV: amount, limit, milliseconds, the expected
# epoch, the least count of the witness, its milliseconds.
ADD: Final = Script(
    b"""
if ARGV[4] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[4] then
  return redis.error_reply('EPOCH another epoch')
end
local seen = 0
if KEYS[3] then
  seen = tonumber(redis.call('GET', KEYS[3]) or '0')
  if seen < tonumber(ARGV[5]) then return redis.error_reply('EPOCH put back') end
end
local found = redis.call('GET', KEYS[1])
local count = 0
if found then
  count = tonumber(found)
  if not count or not string.match(found, '^-?%d+$') then
    return redis.error_reply('NOCOUNTER not a counter')
  end
end
local amount = tonumber(ARGV[1])
if amount > 0 and ARGV[2] ~= '' and count + amount > tonumber(ARGV[2]) then
  return {string.format('%.0f', count), 0, string.format('%.0f', seen)}
end
if KEYS[3] then
  seen = redis.call('INCR', KEYS[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
local now = redis.call('INCRBY', KEYS[1], ARGV[1])
if not found and ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {string.format('%.0f', now), 1, string.format('%.0f', seen)}
"""
)

# KEYS: the lease, the newest fence, the wish for the lease, maybe another value, which is returned,
# and maybe a value that is returned in place of all else. ARGV: holder, milliseconds. A wish that
# cannot be noted is not worth an error: its caller waits.
ACQUIRE: Final = Script(
    b"""
local found = KEYS[5] and redis.call('GET', KEYS[5])
if found then return {false, false, found} end
local wanted = KEYS[4] and redis.call('GET', KEYS[4]) or false
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.pcall('SET', KEYS[3], '1', 'PX', ARGV[2])
  return {false, wanted}
end
local time = redis.call('TIME')
local fence = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if last >= fence then fence = last + 1 end
fence = string.format('%.0f', fence)
if ARGV[3] == '' then redis.call('SET', KEYS[2], fence)
else redis.call('SET', KEYS[2], fence, 'PX', ARGV[3]) end
redis.call('SET', KEYS[1], fence .. ':' .. ARGV[1], 'PX', ARGV[2])
return {fence, wanted}
"""
)

RENEW: Final = Script(
    b"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)

# By its holder alone: a lease whose grant got lost has a fence that nobody knows.
RELEASE: Final = Script(
    b"""
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, ':(.*)$') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
)

# KEYS: the value, the fence it was written with, the lease. ARGV: value, fence, milliseconds.
SET_FENCED: Final = Script(
    b"""
local fence = tonumber(ARGV[2])
local written = tonumber(redis.call('GET', KEYS[2]) or '0')
local held = tonumber(string.match(redis.call('GET', KEYS[3]) or '0', '^%d+'))
if written > fence or held > fence then return 0 end
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('SET', KEYS[2], ARGV[2], 'PX', 86400000)
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return 1
"""
)

# KEYS: the value, the fence it was written with, the lease, the wish for the lease. ARGV: value,
# fence, milliseconds, holder, channel, message. What is stored stays so if no message may be sent.
# With another key, ARGV[7] is stored there for ARGV[8] milliseconds. Without a channel, which is on
# another node, 2 is added to the answer if somebody wants a message.
SETTLE: Final = Script(
    b"""
local fence = tonumber(ARGV[2])
local held = redis.call('GET', KEYS[3])
local newest = tonumber(string.match(held or '0', '^%d+'))
local stored = 0
if newest <= fence and tonumber(redis.call('GET', KEYS[2]) or '0') <= fence then
  stored = 1
  if ARGV[3] == '' then
    redis.call('SET', KEYS[1], ARGV[1])
    redis.call('SET', KEYS[2], ARGV[2], 'PX', 86400000)
  else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  end
end
if KEYS[5] then
  if ARGV[8] == '' then redis.call('SET', KEYS[5], ARGV[7])
  else redis.call('SET', KEYS[5], ARGV[7], 'PX', ARGV[8]) end
end
local mine = held and string.match(held, ':(.*)$') == ARGV[4]
if mine then redis.call('DEL', KEYS[3]) end
if not mine or redis.call('DEL', KEYS[4]) == 1 then
  if ARGV[5] == '' then return stored + 2 end
  local sent = redis.pcall('PUBLISH', ARGV[5], ARGV[6])
  if type(sent) == 'table' and sent.err then return sent end
end
return stored
"""
)

ALL: Final = (COMPARE_AND_SET, ADD, ACQUIRE, RENEW, RELEASE, SET_FENCED, SETTLE)
