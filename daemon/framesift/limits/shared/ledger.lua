-- The ledger that the devices of one project share. One call charges, refunds, restores and audits, by the server's own
-- clock. Nothing else uses these keys:
--
--   <ledger>                    hash: run, id, born: the server's run id, the generation of the data, and its start
--   <ledger>:day:<D>            hash: <kind>|<start>|<account> -> charges in that window; all windows of the day D
--   <ledger>:held:<D>:<device>  hash: datapoint's id -> [account, batch, time, minute, hour]; charges of one device
--   <ledger>:run:<device>       hash: place, until: the instance that uses the device id, and until when it is reserved
--   <ledger>:batch:<batch>      hash: charged, arrived, there, mark, asked; c:<device>, a:<device>: a device's share
--
-- KEYS[1] is <ledger>. It contains the project in braces, so that all keys lie in one hash slot of a cluster. A window
-- is named by the second at which it opens. A day contains whole hours, an hour whole minutes. ARGV[1] is a request in
-- JSON (requests.py writes it and reads the answer). Its parts are executed in the order of this file, as one atomic step.

local MINUTELY, HOURLY, DAILY = 1, 2, 3

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
-- Whole milliseconds, so that a time falls into the same window after it was written as text and read again.
local now = math.floor((tonumber(time[1]) + tonumber(time[2]) / 1e6) * 1000) / 1000

-- A server that was restarted, replaced by its replica, or emptied may have lost charges. A new generation begins: it
-- grants nothing for a while, until the devices have reported their charges. Charges that it still has are kept.
local known = redis.call('HMGET', KEYS[1], 'run', 'id', 'born')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '?'
if known[1] ~= run then
  known = {run, ask.fresh, tostring(now)}
  redis.call('HSET', KEYS[1], 'run', run, 'id', ask.fresh, 'born', known[3])
end
local generation = known[2]
-- A clock that was set back must not make it longer.
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

-- The device's charge of this id and its day, which may be the neighbour of the expected one near midnight.
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

-- lease: [place, seconds]: a spool and its copy have the same device id, and each would refund the other's charges. So
-- the id is reserved for one instance, until that instance has not renewed the lease for some time.
answer.is_alone = true
if ask.lease then
  local key = KEYS[1] .. ':run:' .. ask.device
  local last = redis.call('HMGET', key, 'place', 'until')
  local left = tonumber(last[2] or 0) - now
  -- The last condition: the server's clock was set back.
  answer.is_alone = last[1] == ask.lease[1] or left <= 0 or left > ask.lease[2]
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

-- report: [[batch, charged, arrived, is_complete]]: the device's counts of a batch. is_complete: no charge of the
-- device is on its way between here and its spool, so the count may also become smaller.
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

-- seen: [[batch, images, mark]]: the number of images that the platform has in the batch; mark as below.
for _, one in ipairs(ask.seen or {}) do
  local key = batch_key(one[1])
  redis.call('HSET', key, 'there', one[2], 'mark', one[3])
  keep(key, ask.batch_kept_s)
end

-- mark: [batch]: how many charges of the fleet have left the spools. Devices request it before they ask the platform.
-- false: another device is asking the platform, or has just done so.
answer.mark = {}
for i, batch in ipairs(ask.mark or {}) do
  local counts = redis.call('HMGET', batch_key(batch), 'arrived', 'asked')
  local asked = tonumber(counts[2] or 0)
  answer.mark[i] = false
  if asked > now or now - asked >= ask.ask_every_s then
    redis.call('HSET', batch_key(batch), 'asked', tostring(now))
    keep(batch_key(batch), ask.batch_kept_s)
    answer.mark[i] = tonumber(counts[1] or 0)
  end
end

local function start(starts, at)
  for i = 1, #starts - 1 do
    if starts[i] <= at and at < starts[i + 1] then return starts[i], starts[i + 1] end
  end
end

-- What leaves no room: the kind of a limit, 0 for the batch, -1 if no turn is due; nothing if there is room.
-- windows: by kind, when it opens and closes.
local function room(quota, minute, hour, day, windows)
  local used = redis.call('HMGET', day_key(day), unpack(fields(quota.account, minute, hour, day)))
  for _, limit in ipairs(quota.limits) do
    if tonumber(used[limit[1]] or 0) >= limit[2] then return limit[1] end
  end
  if quota.most then
    local batch = redis.call('HMGET', batch_key(quota.batch), 'charged', 'there', 'mark')
    if tonumber(batch[1] or 0) + tonumber(batch[2] or 0) - tonumber(batch[3] or 0) >= quota.most then return 0 end
  end
  -- turns: [kind, value, ahead]: as limits/turns.py says it.
  if quota.turns then
    local kind, value, ahead = quota.turns[1], quota.turns[2], quota.turns[3]
    local opens, closes = windows[kind][1], windows[kind][2]
    local earned = math.min(now - opens, closes - opens) * value / (closes - opens)
    if tonumber(used[kind] or 0) + 1 > earned + ahead + 1e-9 then return -1 end
  end
end

-- charge: [{id, age, starts: [minutes, hours, days], quotas: [{account, limits: [[kind, value]], batch, most, turns}]}]:
-- charges the first quota with room in all its windows and its batch, or none. An id is charged once, however often it is sent.
local function charge(one)
  local at = math.floor((now - one.age) * 1000) / 1000
  local held = find(one.id, one.starts[DAILY])
  if held then return {is = 'granted', account = held[1], at = held[3]} end
  if not may_charge then return {is = 'wait'} end
  local windows = {}
  for kind = MINUTELY, DAILY do windows[kind] = {start(one.starts[kind], at)} end
  local minute, hour, day = windows[MINUTELY][1], windows[HOURLY][1], windows[DAILY][1]
  if not (minute and hour and day) then return {is = 'elsewhen'} end
  local obstacles = {}
  for i, quota in ipairs(one.quotas) do
    local obstacle = room(quota, minute, hour, day, windows)
    if not obstacle then
      hold(one.id, quota.account, quota.batch, at, minute, hour, day)
      -- Also for a batch without a maximum: a later policy may set one.
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

-- audit: [day]: the ids that are charged for this device on these days; none while another instance has the lease.
answer.audit = {}
for i, day in ipairs(ask.audit or {}) do
  answer.audit[i] = answer.is_alone and redis.call('HKEYS', held_key(day)) or {}
end

-- look: [[day, kind, start, account]]: the fleet's charges in that window.
answer.look = {}
for i, one in ipairs(ask.look or {}) do
  answer.look[i] = tonumber(redis.call('HGET', day_key(one[1]), field(one[2], one[3], one[4])) or 0)
end

-- Last: a server that is out of memory refuses a script at its first write, unless that write needs no memory.
keep(KEYS[1], ask.batch_kept_s)
return cjson.encode(answer)
