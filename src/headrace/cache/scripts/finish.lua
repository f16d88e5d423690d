-- Moves all readers to a generation in one step.
-- ARGV: prefix of all keys, generation, as JSON: active [[segment, version]..],
--   floor [[segment, version]..], counts [[field, n]..], as_of (text or ""), token and loaded as
--   in load, activated (the n of the newest marker that is in there, or "")
-- Returns 1, or 0 when the generation is gone, or not as it should be.
local root = ARGV[1]
local g = root .. ARGV[2] .. ':'
local last = cjson.decode(ARGV[3])
local call = redis.call
local epoch = call('GET', g .. 'epoch')
if not epoch or string.sub(epoch, 1, #last.token + 1) ~= last.token .. ':' then return 0 end
if tonumber(call('GET', g .. 'loaded') or 0) ~= last.loaded then return 0 end
if last.activated ~= '' then call('SET', g .. 'activated', last.activated) end
for _, part in ipairs(last.active) do call('HSET', g .. 'active', part[1], string.format('%d', part[2])) end
for _, part in ipairs(last.floor) do call('HSET', g .. 'floor', part[1], string.format('%d', part[2])) end
for _, part in ipairs(last.counts) do call('HSET', g .. 'count', part[1], string.format('%d', part[2])) end
if last.as_of ~= '' then call('SET', g .. 'as_of', last.as_of) end
if #last.active > 0 then call('SET', g .. 'epoch', epoch .. '!') end
call('SET', g .. 'complete', '1')
call('SET', root .. 'generation', ARGV[2])
return 1
