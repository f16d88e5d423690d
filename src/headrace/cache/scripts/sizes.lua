-- Reads which versions are active and how many members each has.
-- ARGV: prefix of all keys, layout. Returns {"incomplete"} | {as_of, active, counts}.
local root = ARGV[1]
local call = redis.call
local number = call('GET', root .. 'generation')
if not number then return {'incomplete'} end
local g = root .. number .. ':'
local found = call('MGET', g .. 'epoch', g .. 'complete', g .. 'as_of')
local epoch = found[1]
if not epoch or not found[2] or string.sub(epoch, 1, #ARGV[2]) ~= ARGV[2] then return {'incomplete'} end
return {found[3], call('HGETALL', g .. 'active'), call('HGETALL', g .. 'count')}
