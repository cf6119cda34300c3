-- The rules of telemetry/limits/memory.py for many processes: a batch of operations, one after the other, by one clock.
-- ARGV[1]: msgpack of {now in ms or 0 for the server's time, {operation, ...}}. Answers {now, epoch, {answer, ...}}.
-- Sums of money are kept with HINCRBY and answered as text, which is exact; a Lua number is a double, which is good
-- enough to compare.

local PREFIX, KEPT, LEASE = KEYS[1], 61, 25000
local BUCKET, BUCKETS, RECENT_TTL = 30000, 5, 180000
local MONEY_TTL = 7 * 24 * 3600 * 1000
local REQUESTS, TOKENS, PLACES, MONEY = 1, 2, 3, 4
local SOON = 1000

local asked = cmsgpack.unpack(ARGV[1])
local now = asked[1]
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Windows: a hash of slots, with their sum in `t` and the newest of them in `n`.

local function advanced(key, slot_ms)
  local slot = math.floor(now / slot_ms)
  local head = redis.call('HMGET', key, 't', 'n')
  if not head[1] then return 0, slot end
  local total, newest = tonumber(head[1]), tonumber(head[2])
  if slot <= newest then return total, newest end
  local gone = {}
  for each = newest - KEPT + 1, math.min(slot - KEPT, newest) do gone[#gone + 1] = each end
  if #gone > 0 then
    for _, amount in ipairs(redis.call('HMGET', key, unpack(gone))) do
      if amount then total = total - tonumber(amount) end
    end
    redis.call('HDEL', key, unpack(gone))
  end
  redis.call('HSET', key, 't', total, 'n', slot)
  return total, slot
end

local function add(key, slot_ms, slot, newest, amount)
  if amount < 0 then
    amount = math.max(amount, -tonumber(redis.call('HGET', key, slot) or 0))
  end
  if amount ~= 0 then
    redis.call('HINCRBY', key, slot, amount)
    redis.call('HINCRBY', key, 't', amount)
    redis.call('HSET', key, 'n', newest)
  end
  redis.call('PEXPIRE', key, slot_ms * (KEPT + 1))
end

local function frees_in(key, slot_ms, total, newest, room)
  local slots, at = {}, newest
  for each = newest - KEPT + 1, newest do slots[#slots + 1] = each end
  for index, amount in ipairs(redis.call('HMGET', key, unpack(slots))) do
    if total <= room then break end
    if amount and tonumber(amount) ~= 0 then
      total = total - tonumber(amount)
      at = slots[index] + KEPT
    end
  end
  return at * slot_ms - now
end

-- Places: a sorted set of requests by the end of their lease. Money has one too, in which the amount follows the id (32 characters).

local function places(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  return redis.call('ZCARD', key)
end

-- What it takes for HINCRBY to take it away again: there is no -0.
local function minus(amount) return amount == '0' and '0' or '-' .. amount end

local function money(key)
  local leases = key .. ':x'
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', leases, lease)
    redis.call('HINCRBY', key, 'h', minus(string.sub(lease, 33)))
  end
  local purse = redis.call('HMGET', key, 's', 'h')
  return purse[1], purse[2] or '0'
end

local function hold(key, id, amount)
  if redis.call('ZADD', key .. ':x', now + LEASE, id .. amount) == 1 then
    redis.call('HINCRBY', key, 'h', amount)
  end
  redis.call('PEXPIRE', key .. ':x', LEASE * 2)
  redis.call('PEXPIRE', key, MONEY_TTL)
end

local function release(key, id, amount)
  if redis.call('ZREM', key .. ':x', id .. amount) == 1 then redis.call('HINCRBY', key, 'h', minus(amount)) end
end

local function is_recent(key, id)
  local bucket = math.floor(now / BUCKET)
  for each = bucket, bucket - BUCKETS + 1, -1 do
    if redis.call('HEXISTS', key .. ':r' .. each, id) == 1 then return true end
  end
  return false
end

local function remember(key, id, cost)
  local bucket = key .. ':r' .. math.floor(now / BUCKET)
  redis.call('HSET', bucket, id, cost)
  redis.call('HINCRBY', bucket, 'sum', cost)
  redis.call('PEXPIRE', bucket, RECENT_TTL)
end

-- Operations.

local function denied(index, meter)
  local key, kind, limit, slot_ms = PREFIX .. meter[1], meter[2], meter[3], meter[5]
  if kind == REQUESTS or kind == TOKENS then
    local total, newest = advanced(key, slot_ms)
    local room = limit - (kind == REQUESTS and meter[4] or 1)
    if total > room then return {1, index, total, 0, frees_in(key, slot_ms, total, newest, room)} end
  elseif kind == PLACES then
    local taken = places(key)
    if taken + 1 > limit then return {1, index, taken, taken, SOON} end
  else
    local spent, held = money(key)
    if spent + held >= limit then return {1, index, spent, held, tonumber(spent) < limit and SOON or 0} end
  end
end

local function take(id, meter)
  local key, kind, slot_ms = PREFIX .. meter[1], meter[2], meter[5]
  if kind == REQUESTS or kind == TOKENS then
    local total, newest = advanced(key, slot_ms)
    add(key, slot_ms, newest, newest, meter[4])
    return total + meter[4]
  elseif kind == PLACES then
    redis.call('ZADD', key, now + LEASE, id)
    redis.call('PEXPIRE', key, LEASE * 2)
    return redis.call('ZCARD', key)
  end
  hold(key, id, meter[4])
  return redis.call('HMGET', key, 's', 'h')
end

local function reserve(id, meters)
  local unknown, unverified = {}, {}
  for index, meter in ipairs(meters) do
    if meter[2] == MONEY and redis.call('HEXISTS', PREFIX .. meter[1], 's') == 0 then
      if meter[6] then
        redis.call('HSET', PREFIX .. meter[1], 's', 0)
        redis.call('PEXPIRE', PREFIX .. meter[1], MONEY_TTL)
        unverified[#unverified + 1] = index
      else
        unknown[#unknown + 1] = index
      end
    end
  end
  if #unknown > 0 then return {2, unknown, unverified} end
  for index, meter in ipairs(meters) do
    local no = denied(index, meter)
    if no then
      no[6] = unverified
      return no
    end
  end
  local used = {}
  for index, meter in ipairs(meters) do used[index] = take(id, meter) end
  return {0, used, unverified}
end

local function settle(id, meters)
  for _, meter in ipairs(meters) do
    local key, kind = PREFIX .. meter[1], meter[2]
    if kind == REQUESTS or kind == TOKENS then
      local slot_ms, change = meter[5], meter[3]
      local _, newest = advanced(key, slot_ms)
      if change > 0 then
        add(key, slot_ms, newest, newest, change)
      elseif change < 0 then
        add(key, slot_ms, math.min(meter[4], newest), newest, change)
      end
    elseif kind == PLACES then
      redis.call('ZREM', key, id)
    else
      release(key, id, meter[3])
      if not is_recent(key, id) then
        remember(key, id, meter[4])
        if meter[5] or redis.call('HEXISTS', key, 's') == 1 then redis.call('HINCRBY', key, 's', meter[4]) end
        redis.call('PEXPIRE', key, MONEY_TTL)
      end
    end
  end
  return 0
end

local function renew(id, meters)
  for _, meter in ipairs(meters) do
    local key = PREFIX .. meter[1]
    if meter[2] == PLACES then
      redis.call('ZADD', key, now + LEASE, id)
      redis.call('PEXPIRE', key, LEASE * 2)
    else
      hold(key, id, meter[3])
    end
  end
  return 0
end

local function push(key, id, cost)
  if not is_recent(PREFIX .. key, id) then remember(PREFIX .. key, id, cost) end
  return 0
end

local function recent(key)
  local bucket, found = math.floor(now / BUCKET), {}
  for each = bucket - BUCKETS + 1, bucket do
    found[#found + 1] = {each, redis.call('HGETALL', PREFIX .. key .. ':r' .. each)}
  end
  return found
end

-- `spent` says what the record knows without what is recent. Buckets that are newer than those asked about count whole.
local function seed(key, spent, oldest)
  key = PREFIX .. key
  redis.call('HSET', key, 's', spent, 'h', 0)
  for each = oldest, math.floor(now / BUCKET) do
    redis.call('HINCRBY', key, 's', redis.call('HGET', key .. ':r' .. each, 'sum') or '0')
  end
  -- A Redis that is full may have thrown away the one key and not the other.
  for _, lease in ipairs(redis.call('ZRANGE', key .. ':x', 0, -1)) do
    redis.call('HINCRBY', key, 'h', string.sub(lease, 33))
  end
  redis.call('PEXPIRE', key, MONEY_TTL)
  return redis.call('HGET', key, 's')
end

local function read(meter)
  local key, kind, limit, slot_ms = PREFIX .. meter[1], meter[2], meter[3], meter[5]
  if kind == REQUESTS or kind == TOKENS then
    local total, newest = advanced(key, slot_ms)
    return {total, 0, total >= limit and math.max(0, frees_in(key, slot_ms, total, newest, limit - 1)) or 0, 1}
  elseif kind == PLACES then
    local taken = places(key)
    return {taken, taken, 0, 1}
  end
  local spent, held = money(key)
  return {spent or '0', held, 0, (spent or meter[6]) and 1 or 0}
end

local function claim(key, ms)
  return redis.call('SET', PREFIX .. 'claim:' .. key, 1, 'NX', 'PX', ms) and 1 or 0
end

local operations = {reserve, settle, renew, push, recent, seed, read, claim}
local answers = {}
for index, operation in ipairs(asked[2]) do
  local is_done, answer = pcall(operations[operation[1]], operation[2], operation[3], operation[4])
  if not is_done then answer = redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer)) end
  answers[index] = answer
end
local epoch = redis.call('GET', PREFIX .. 'epoch')
if not epoch then
  epoch = tostring(now) .. ARGV[2]
  redis.call('SET', PREFIX .. 'epoch', epoch)
end
return {now, epoch, answers}
