-- The ledger that the devices of one project share: who may collect how much, charged, refunded, restored and audited
-- in one round trip, by the server's own clock. Nothing else touches these keys:
--
--   <ledger>                    hash: run, id, born        which server's memory this is, and since when
--   <ledger>:day:<D>            hash: <kind>|<start>|<account> -> charges in that window; all windows of the day D
--   <ledger>:held:<D>:<device>  hash: datapoint's id -> [account, batch, time, minute, hour]; one device's charges
--   <ledger>:run:<device>       hash: place, until         where the device runs, as it says itself every ten seconds
--   <ledger>:batch:<batch>      hash: charged, arrived, there, mark, asked; c:<device>, a:<device>
--
-- KEYS[1] is <ledger>; it holds the project in braces, so that all of them lie in one slot of a cluster. Windows are
-- known by the second at which they open, and days hold the hours and minutes in them. ARGV[1] is a request in JSON
-- (ledger.py writes it and reads the answer). Whatever it asks for happens in the order of this file, at one instant.

local MINUTELY, HOURLY, DAILY = 1, 2, 3

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
-- Whole milliseconds: what is written as text falls into the same window when it is read.
local now = math.floor((tonumber(time[1]) + tonumber(time[2]) / 1e6) * 1000) / 1000

-- A server that was restarted, replaced by its replica, or emptied may have forgotten charges. Its memory begins anew:
-- it grants nothing for a while, until the devices have brought what they hold. What it still knows is kept.
local known = redis.call('HMGET', KEYS[1], 'run', 'id', 'born')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '?'
if known[1] ~= run then
  known = {run, ask.fresh, tostring(now)}
  redis.call('HSET', KEYS[1], 'run', run, 'id', ask.fresh, 'born', known[3])
end
local generation = known[2]
-- A clock that was set back must not lengthen it.
local restoring = math.min(ask.restore_s, tonumber(known[3]) + ask.restore_s - now)
local may_charge = restoring <= 0 and ask.generation == generation

local function day_key(day) return string.format('%s:day:%d', KEYS[1], day) end
local function held_key(day) return string.format('%s:held:%d:%s', KEYS[1], day, ask.device) end
local function batch_key(batch) return KEYS[1] .. ':batch:' .. batch end
local function field(kind, start, account) return string.format('%d|%d|%s', kind, start, account) end

local function keep(key, seconds) redis.call('EXPIRE', key, math.ceil(seconds)) end

local function fields(account, minute, hour, day)
  return {field(MINUTELY, minute, account), field(HOURLY, hour, account), field(DAILY, day, account)}
end

local function count(key, name, change)
  if redis.call('HINCRBY', key, name, change) <= 0 then redis.call('HDEL', key, name) end
end

-- The device's charge of this id, and the day that it lies in: at the edge of a day it may be the neighbour.
local function find(id, days)
  for _, day in ipairs(days) do
    local charge = redis.call('HGET', held_key(day), id)
    if charge then return cjson.decode(charge), day end
  end
end

local function hold(id, account, batch, at, minute, hour, day)
  for _, name in ipairs(fields(account, minute, hour, day)) do
    redis.call('HINCRBY', day_key(day), name, 1)
  end
  redis.call('HSET', held_key(day), id, cjson.encode({account, batch, at, minute, hour}))
  keep(day_key(day), day + ask.kept_s - now)
  keep(held_key(day), day + ask.kept_s - now)
end

local answer = {generation = generation, now = now, restoring = math.max(0, restoring)}

-- lease: [place, seconds]: a spool and its copy have one name, and would each give back what the other was granted. Only
-- one of them is this device: the one that says so, until it has not said it for a while.
answer.is_alone = true
if ask.lease then
  local key = KEYS[1] .. ':run:' .. ask.device
  local said = redis.call('HMGET', key, 'place', 'until')
  local left = tonumber(said[2] or 0) - now
  answer.is_alone = said[1] == ask.lease[1] or left <= 0 or left > ask.lease[2]  -- a clock that was set back
  if answer.is_alone then
    redis.call('HSET', key, 'place', ask.lease[1], 'until', tostring(now + ask.lease[2]))
    keep(key, ask.lease[2])
  end
end

-- refund: [[id, days]]
for _, one in ipairs(ask.refund or {}) do
  local charge, day = find(one[1], one[2])
  if charge then
    redis.call('HDEL', held_key(day), one[1])
    for _, name in ipairs(fields(charge[1], charge[4], charge[5], day)) do count(day_key(day), name, -1) end
    local batch = batch_key(charge[2])
    if redis.call('HEXISTS', batch, 'c:' .. ask.device) == 1 then
      redis.call('HINCRBY', batch, 'charged', -1)
      count(batch, 'c:' .. ask.device, -1)
    end
  end
end

-- restore: [[id, account, batch, time, minute, hour, day, days]]
for _, one in ipairs(ask.restore or {}) do
  if one[7] + ask.kept_s > now and not find(one[1], one[8]) then
    hold(one[1], one[2], one[3], one[4], one[5], one[6], one[7])
  end
end

-- report: [[batch, charged, arrived, is_whole]]: what the device has of a batch. is_whole: nothing of its own is on its
-- way between here and its spool, so that the number may also have become less.
for _, one in ipairs(ask.report or {}) do
  local key = batch_key(one[1])
  local own = redis.call('HMGET', key, 'c:' .. ask.device, 'a:' .. ask.device)
  local charged, arrived = tonumber(own[1] or 0), tonumber(own[2] or 0)
  if one[2] > charged or (one[4] and one[2] < charged) then
    redis.call('HINCRBY', key, 'charged', one[2] - charged)
    redis.call('HSET', key, 'c:' .. ask.device, one[2])
  end
  if one[3] ~= arrived then
    redis.call('HINCRBY', key, 'arrived', one[3] - arrived)
    redis.call('HSET', key, 'a:' .. ask.device, one[3])
  end
  keep(key, ask.batch_kept_s)
end

-- seen: [[batch, images, mark]]: the platform has so many images in it; mark as below.
for _, one in ipairs(ask.seen or {}) do
  local key = batch_key(one[1])
  redis.call('HSET', key, 'there', one[2], 'mark', one[3])
  keep(key, ask.batch_kept_s)
end

-- mark: [batch]: how many charges of the fleet are no longer on their way, to be asked before the platform is asked;
-- false where another device is asking it, or has just done so.
answer.mark = {}
for i, batch in ipairs(ask.mark or {}) do
  local said = redis.call('HMGET', batch_key(batch), 'arrived', 'asked')
  local asked = tonumber(said[2] or 0)
  answer.mark[i] = false
  if asked > now or now - asked >= ask.ask_every_s then
    redis.call('HSET', batch_key(batch), 'asked', tostring(now))
    keep(batch_key(batch), ask.batch_kept_s)
    answer.mark[i] = tonumber(said[1] or 0)
  end
end

local function start(starts, at)
  for i = 1, #starts - 1 do
    if starts[i] <= at and at < starts[i + 1] then return starts[i] end
  end
end

local function room(quota, minute, hour, day)
  local used = redis.call('HMGET', day_key(day), unpack(fields(quota.account, minute, hour, day)))
  for _, limit in ipairs(quota.limits) do
    if tonumber(used[limit[1]] or 0) >= limit[2] then return limit[1] end
  end
  if quota.most then
    local batch = redis.call('HMGET', batch_key(quota.batch), 'charged', 'there', 'mark')
    if tonumber(batch[1] or 0) + tonumber(batch[2] or 0) - tonumber(batch[3] or 0) >= quota.most then return 0 end
  end
end

-- charge: [{id, age, starts: [minutes, hours, days], quotas: [{account, limits: [[kind, value]], batch, most}]}]: the
-- first quota with room in all its windows and its batch, or none. Charged once, however often it is asked.
local function charge(one)
  local at = math.floor((now - one.age) * 1000) / 1000
  local held = find(one.id, one.starts[DAILY])
  if held then return {is = 'granted', account = held[1], at = held[3]} end
  if not may_charge then return {is = 'wait'} end
  local minute, hour, day = start(one.starts[1], at), start(one.starts[2], at), start(one.starts[3], at)
  if not (minute and hour and day) then return {is = 'elsewhen'} end
  local obstacles = {}
  for i, quota in ipairs(one.quotas) do
    local obstacle = room(quota, minute, hour, day)
    if not obstacle then
      hold(one.id, quota.account, quota.batch, at, minute, hour, day)
      -- Also where nothing bounds it: a policy that does may fill it tomorrow.
      redis.call('HINCRBY', batch_key(quota.batch), 'charged', 1)
      redis.call('HINCRBY', batch_key(quota.batch), 'c:' .. ask.device, 1)
      keep(batch_key(quota.batch), ask.batch_kept_s)
      return {is = 'granted', account = quota.account, at = at}
    end
    obstacles[i] = obstacle
  end
  return {is = 'refused', at = at, obstacles = obstacles}
end

answer.charge = {}
for i, one in ipairs(ask.charge or {}) do answer.charge[i] = charge(one) end

-- audit: [day]: the ids of all that this device has charged on these days; none where it is not alone.
answer.audit = {}
for i, day in ipairs(ask.audit or {}) do
  answer.audit[i] = answer.is_alone and redis.call('HKEYS', held_key(day)) or {}
end

-- look: [[day, kind, start, account]]: the fleet's charges in that window.
answer.look = {}
for i, one in ipairs(ask.look or {}) do
  answer.look[i] = tonumber(redis.call('HGET', day_key(one[1]), field(one[2], one[3], one[4])) or 0)
end

-- At last: a server whose memory is full refuses a script at its first write, unless that is one that needs none.
keep(KEYS[1], ask.batch_kept_s)
return cjson.encode(answer)
