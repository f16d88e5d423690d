-- Reads users as of one instant.
-- ARGV: prefix of all keys, layout, the epoch the reader knows, "1" for profiles too, user ids..
-- Returns {"incomplete"}
--   | {epoch, as_of, versions, [id, fields, profile]..}; versions is false when the epoch is known,
--     else {active, floor}; id is the canonical one of a joined id.
local root = ARGV[1]
local call = redis.call
local number = call('GET', root .. 'generation')
if not number then return {'incomplete'} end
local g = root .. number .. ':'
local found = call('MGET', g .. 'epoch', g .. 'complete', g .. 'as_of')
local epoch = found[1]
if not epoch or not found[2] or string.sub(epoch, 1, #ARGV[2]) ~= ARGV[2] then return {'incomplete'} end
local versions = false
if epoch ~= ARGV[3] then versions = {call('HGETALL', g .. 'active'), call('HGETALL', g .. 'floor')} end
local answer = {epoch, found[3], versions}
for i = 5, #ARGV do
  local id = ARGV[i]
  local fields = call('HGETALL', g .. 'user:' .. id)
  -- A joined id leads to the canonical one; joins of joins are few, and a loop must end.
  for _ = 1, 8 do
    local to
    for k = 1, #fields, 2 do if fields[k] == '_to' then to = fields[k + 1] end end
    if not to then break end
    id = to
    fields = call('HGETALL', g .. 'user:' .. id)
  end
  local profile = ARGV[4] == '1' and call('HGETALL', g .. 'profile:' .. id) or false
  answer[#answer + 1] = {id, fields, profile}
end
return answer
