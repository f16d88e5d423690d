-- Reads a page of a segment's members.
-- ARGV: prefix of all keys, layout, segment, the id to go on after ("" from the first), limit
-- Returns {"incomplete"} | {"unknown", as_of} | {"not kept", as_of} | {"page", as_of, version, ids}.
local root = ARGV[1]
local call = redis.call
local number = call('GET', root .. 'generation')
if not number then return {'incomplete'} end
local g = root .. number .. ':'
local found = call('MGET', g .. 'epoch', g .. 'complete', g .. 'as_of', g .. 'members_kept')
local epoch, as_of = found[1], found[3]
if not epoch or not found[2] or string.sub(epoch, 1, #ARGV[2]) ~= ARGV[2] then return {'incomplete'} end
local version = call('HGET', g .. 'active', ARGV[3])
if not version then return {'unknown', as_of} end
if not found[4] then return {'not kept', as_of} end
local from = ARGV[4] == '' and '-' or '(' .. ARGV[4]
return {'page', as_of, version, call('ZRANGEBYLEX', g .. 'members:' .. ARGV[3], from, '+', 'LIMIT', 0, ARGV[5])}
