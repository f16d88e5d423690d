-- Writes users into a generation that nobody reads yet.
-- ARGV: prefix of all keys, generation, now, as JSON:
--   token   the one it was begun with; loaded  how many batches are in it
--   users   [[id, [field, value, ..], traits or false]..]
--   members {segment: [id..]}
-- Returns 1, or 0 when the generation is gone, or not as it should be.
local root = ARGV[1]
local g = root .. ARGV[2] .. ':'
local batch = cjson.decode(ARGV[4])
local call = redis.call
-- Another's of the same number, or ours as it was before Redis came back, is not ours.
local epoch = call('GET', g .. 'epoch')
if not epoch or string.sub(epoch, 1, #batch.token + 1) ~= batch.token .. ':' then return 0 end
if tonumber(call('GET', g .. 'loaded') or 0) ~= batch.loaded then return 0 end
call('INCR', g .. 'loaded')
for _, user in ipairs(batch.users) do
  -- Lua unpacks a few thousand values at most.
  for i = 1, #user[2], 4000 do
    call('HSET', g .. 'user:' .. user[1], unpack(user[2], i, math.min(i + 3999, #user[2])))
  end
  if user[3] then call('HSET', g .. 'profile:' .. user[1], 'traits', user[3]) end
end
for segment, ids in pairs(batch.members) do
  local pairs_of, size = {}, 0
  for _, id in ipairs(ids) do
    pairs_of[size + 1], pairs_of[size + 2] = 0, id
    size = size + 2
    if size == 2000 then
      call('ZADD', g .. 'members:' .. segment, unpack(pairs_of, 1, size))
      size = 0
    end
  end
  if size > 0 then call('ZADD', g .. 'members:' .. segment, unpack(pairs_of, 1, size)) end
end
call('HSET', root .. 'generations', ARGV[2], ARGV[3])
return 1
