-- Opens a new generation, which nobody reads yet.
-- ARGV: prefix of all keys, as JSON: token, now, as_of, offsets [[partition, offset]..], members
-- Returns its number.
local root = ARGV[1]
local start = cjson.decode(ARGV[2])
local call = redis.call
local number = string.format('%d', call('HINCRBY', root .. 'generations', 'next', 1) - 1)
local g = root .. number .. ':'
call('HSET', root .. 'generations', number, start.now)
-- Not ':0': that is what the activation of batch 0 makes of it, and readers would see no change.
call('SET', g .. 'epoch', start.token .. ':new')
call('SET', g .. 'as_of', start.as_of)
if start.members then call('SET', g .. 'members_kept', '1') end
for _, place in ipairs(start.offsets) do
  call('HSET', g .. 'offsets', place[1], place[2])
  if start.as_of ~= '0' then call('HSET', g .. 'beats', place[1], start.as_of) end
end
return number
