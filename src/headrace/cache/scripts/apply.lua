-- Applies a batch of memberships.v1, whole, to one generation.
-- ARGV: prefix of all keys, generation, batch as JSON:
--   places  [[partition, from, to]..]   offsets as text; the batch follows on what was applied
--   users   [[id, n, at, changes, traits, measures, gone, canonical]..]
--             changes [segment, version, "+ms" or "-", ..], measures [name, "value@ms", ..],
--             traits JSON text or false, gone 0 or 1, canonical an id or ""
--   beats   [[partition, at]..], partitions, members (keep the sets?), keep (ms of a gone user's n)
-- Returns {"lost"} | {"moved", partition, offset}.. | {"ok", applied, skipped}.
local root = ARGV[1]
local g = root .. ARGV[2] .. ':'
local batch = cjson.decode(ARGV[3])
local call = redis.call

if call('EXISTS', g .. 'epoch') == 0 then return {'lost'} end
for _, place in ipairs(batch.places) do
  local stored = call('HGET', g .. 'offsets', place[1])
  if stored ~= place[2] then return {'moved', tostring(place[1]), stored or ''} end
end
-- Sets that were not kept up for one batch are never right again: the next generation has them.
if not batch.members then call('DEL', g .. 'members_kept') end
batch.members = call('EXISTS', g .. 'members_kept') == 1

local function map(key)
  local flat, found = call('HGETALL', key), {}
  for i = 1, #flat, 2 do found[flat[i]] = tonumber(flat[i + 1]) end
  return found
end
local active, floor = map(g .. 'active'), map(g .. 'floor')
local names = {}
local function name(segment, version)
  local of = names[segment]
  if not of then of = {}; names[segment] = of end
  local made = of[version]
  if not made then
    made = segment .. '@' .. string.format('%d', version)
    of[version] = made
  end
  return made
end
local counts = {}
local function count(segment, version, by)
  local field = name(segment, version)
  counts[field] = (counts[field] or 0) + by
end

-- Sets are written once per batch: set -> {id -> stays}.
local sets = {}
local function member(set, id, stays)
  if not batch.members then return end
  local of = sets[set]
  if not of then of = {}; sets[set] = of end
  of[id] = stays
end

local function keep_entry(of, segment, version, value)
  local entries = of[segment]
  if not entries then entries = {}; of[segment] = entries end
  entries[version] = value
end

-- Everything of a user: n, is gone, {segment: {version: value}}.
local function look_at_all(key)
  local fields, known, was_gone, of = call('HGETALL', key), -1, false, {}
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    if field == '_n' then
      known = tonumber(value)
    elseif field == '_gone' then
      was_gone = true
    else
      local at = string.find(field, '@', 1, true)
      if at then
        keep_entry(of, string.sub(field, 1, at - 1), tonumber(string.sub(field, at + 1)), value)
      end
    end
  end
  return known, was_gone, of
end

-- The same of the segments that change alone, unless too many versions of them may be there.
local function look(key, changes)
  local fields, places = {'_n', '_gone'}, {}
  for i = 1, #changes, 3 do
    local segment, version = changes[i], changes[i + 1]
    local low, top = floor[segment] or 0, math.max(active[segment] or 0, version)
    if top - low > 4 or #fields > 2000 then return look_at_all(key) end
    for candidate = low + 1, top do
      fields[#fields + 1] = name(segment, candidate)
      places[#places + 1] = {segment, candidate}
    end
  end
  local values = call('HMGET', key, unpack(fields))
  local of = {}
  for i, place in ipairs(places) do
    if values[i + 2] then keep_entry(of, place[1], place[2], values[i + 2]) end
  end
  return tonumber(values[1] or -1), values[2] and true or false, of
end

-- The newest version among `entries` above `low` and up to `high`, and its value.
local function newest(entries, low, high)
  local best, value = low, nil
  for version, entry in pairs(entries) do
    if version > best and version <= high then best, value = version, entry end
  end
  return best, value
end

local function is_in(entries, low, high)
  local _, value = newest(entries, low, high)
  return value ~= nil and string.sub(value, 1, 1) == '+'
end

-- Changes `of`, and notes in `final` what becomes of each field: its value, or false.
local function change(id, of, segment, version, value, final)
  local entries = of[segment]
  if not entries then entries = {}; of[segment] = entries end
  local low, now = floor[segment] or 0, active[segment]
  if version <= low then return end
  local set = g .. 'members:' .. segment
  local enters = string.sub(value, 1, 1) == '+'
  local keep
  if now and version <= now then
    local was = is_in(entries, low, now)
    for other in pairs(entries) do
      if other <= now then
        final[name(segment, other)] = false
        entries[other] = nil
      end
    end
    keep = enters
    if was ~= enters then
      count(segment, now, enters and 1 or -1)
      member(set, id, enters)
    end
  else
    -- Not active yet: kept beside what readers see, as a difference to it.
    local base = now and is_in(entries, low, now) or false
    local was = is_in(entries, low, version)
    keep = enters or base
    if was ~= enters then count(segment, version, enters and 1 or -1) end
    local beside = set .. ':' .. string.format('%d', version)
    member(beside .. ':in', id, enters and not base)
    member(beside .. ':out', id, base and not enters)
    -- What an earlier change of rule left is read no more: a user keeps two entries, not fifty.
    local says = now and newest(entries, low, now) or low
    for other in pairs(entries) do
      if other < says then
        final[name(segment, other)] = false
        entries[other] = nil
      end
    end
  end
  entries[version] = keep and value or nil
  final[name(segment, version)] = keep and value
end

local function forget(id, of)
  for segment, entries in pairs(of) do
    local low, now = floor[segment] or 0, active[segment]
    local set = g .. 'members:' .. segment
    local base = now and is_in(entries, low, now) or false
    if base then
      count(segment, now, -1)
      member(set, id, false)
    end
    for version, entry in pairs(entries) do
      if version > low and not (now and version <= now) then
        local inside = string.sub(entry, 1, 1) == '+'
        if inside ~= base then count(segment, version, inside and -1 or 1) end
        local beside = set .. ':' .. string.format('%d', version)
        member(beside .. ':in', id, false)
        member(beside .. ':out', id, false)
      end
    end
  end
end

-- Lua unpacks a few thousand values at most.
local function spread(command, key, values)
  for i = 1, #values, 4000 do
    call(command, key, unpack(values, i, math.min(i + 3999, #values)))
  end
end

local applied, skipped = 0, 0
for _, user in ipairs(batch.users) do
  local id, n, at, changes = user[1], user[2], user[3], user[4]
  local traits, measures, gone, canonical = user[5], user[6], user[7], user[8]
  local key, profile = g .. 'user:' .. id, g .. 'profile:' .. id
  local known, was_gone, of
  if gone == 1 then known, was_gone, of = look_at_all(key) else known, was_gone, of = look(key, changes) end
  if tonumber(n) <= known then
    skipped = skipped + 1
  else
    applied = applied + 1
    if was_gone then
      call('HDEL', key, '_gone', '_to')
      call('PERSIST', key)
    end
    if gone == 1 then
      forget(id, of)
      call('DEL', key, profile)
      call('HSET', key, '_n', n, '_at', at, '_gone', '1')
      -- A joined id is asked for as long as somebody remembers it.
      if canonical ~= '' then call('HSET', key, '_to', canonical) else call('PEXPIRE', key, batch.keep) end
    else
      local final = {}
      for i = 1, #changes, 3 do
        change(id, of, changes[i], changes[i + 1], changes[i + 2], final)
      end
      local puts, drops = {'_n', n, '_at', at}, {}
      for field, value in pairs(final) do
        if value then
          puts[#puts + 1] = field
          puts[#puts + 1] = value
        else
          drops[#drops + 1] = field
        end
      end
      spread('HDEL', key, drops)
      spread('HSET', key, puts)
      if traits then
        measures[#measures + 1] = 'traits'
        measures[#measures + 1] = traits
      end
      if #measures > 0 then spread('HSET', profile, measures) end
    end
  end
end

for set, ids in pairs(sets) do
  local joins, leaves = {}, {}
  for id, stays in pairs(ids) do
    if stays then
      joins[#joins + 1] = 0
      joins[#joins + 1] = id
    else
      leaves[#leaves + 1] = id
    end
  end
  spread('ZADD', set, joins)
  spread('ZREM', set, leaves)
end
for field, by in pairs(counts) do
  if by ~= 0 then call('HINCRBY', g .. 'count', field, by) end
end
for _, place in ipairs(batch.places) do call('HSET', g .. 'offsets', place[1], place[3]) end
if #batch.beats > 0 then
  for _, beat in ipairs(batch.beats) do call('HSET', g .. 'beats', beat[1], beat[2]) end
  local least
  local beats = call('HVALS', g .. 'beats')
  for _, at in ipairs(beats) do
    if not least or tonumber(at) < tonumber(least) then least = at end
  end
  local as_of = call('GET', g .. 'as_of')
  if #beats == batch.partitions and (not as_of or tonumber(as_of) < tonumber(least)) then
    call('SET', g .. 'as_of', least)
  end
end
if call('HEXISTS', root .. 'generations', ARGV[2]) == 1 then
  call('HSET', root .. 'generations', ARGV[2], batch.now)
end
return {'ok', applied, skipped}
