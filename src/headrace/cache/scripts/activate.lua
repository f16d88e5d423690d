-- A partition has passed a marker; the last one to do so moves the readers to the new versions.
-- ARGV: prefix of all keys, generation, step as JSON:
--   place [partition, from, to], partitions, n, segments [[segment, version]..], retired [segment..]
-- Returns {"lost"} | {"moved", partition, offset} | {"waiting", passed} | {"active"} | {"past"}.
local root = ARGV[1]
local g = root .. ARGV[2] .. ':'
local step = cjson.decode(ARGV[3])
local call = redis.call

local epoch = call('GET', g .. 'epoch')
if not epoch then return {'lost'} end
local stored = call('HGET', g .. 'offsets', step.place[1])
if stored ~= step.place[2] then return {'moved', tostring(step.place[1]), stored or ''} end
call('HSET', g .. 'offsets', step.place[1], step.place[3])

local last = call('GET', g .. 'activated')
if last and tonumber(last) >= tonumber(step.n) then return {'past'} end
local passed = g .. 'marker:' .. step.n
call('SADD', passed, step.place[1])
if call('SCARD', passed) < step.partitions then
  call('HSET', g .. 'waiting', step.place[1], step.n)
  return {'waiting', call('SCARD', passed)}
end

for _, part in ipairs(step.segments) do
  local segment, version = part[1], part[2]
  local now = tonumber(call('HGET', g .. 'active', segment) or 0)
  if version > now then
    local field = segment .. '@' .. string.format('%d', version)
    local set = g .. 'members:' .. segment
    local beside = set .. ':' .. field:match('@(%d+)$')
    if now > 0 then
      local old = segment .. '@' .. string.format('%d', now)
      call('HINCRBY', g .. 'count', field, call('HGET', g .. 'count', old) or 0)
      call('HDEL', g .. 'count', old)
    end
    if call('EXISTS', beside .. ':in') == 1 then call('ZUNIONSTORE', set, 2, set, beside .. ':in') end
    if call('EXISTS', beside .. ':out') == 1 then call('ZDIFFSTORE', set, 2, set, beside .. ':out') end
    call('UNLINK', beside .. ':in', beside .. ':out')
    call('HSET', g .. 'active', segment, string.format('%d', version))
  end
end
for _, segment in ipairs(step.retired) do
  local now = call('HGET', g .. 'active', segment)
  if now then
    -- Users keep their entries, which nobody reads behind the floor, until the loader sweeps.
    for version = (call('HGET', g .. 'floor', segment) or 0) + 1, now do
      call('SADD', g .. 'ended', segment .. '@' .. string.format('%d', version))
    end
    call('HDEL', g .. 'active', segment)
    call('HSET', g .. 'floor', segment, now)
    call('HDEL', g .. 'count', segment .. '@' .. now)
    call('UNLINK', g .. 'members:' .. segment)
  end
end
call('SET', g .. 'activated', step.n)
call('DEL', passed, g .. 'waiting')
call('SET', g .. 'epoch', epoch:match('^[^:]*') .. ':' .. step.n)
return {'active'}
