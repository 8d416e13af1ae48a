-- One batch of one gateway, in order and in one step: calls taken under all their rules or none, settled, looked at.
--
-- ARGV[1], as msgpack: [gateway, number, holder, now or false for this server's clock, rules, operations].
-- A rule: [account, limit, refill per second, kind (0 counts at once, 1 tokens, 2 places), end of its period or 0].
-- An account is kept as [used, at, amounts by holder, refill, end]; what a gateway held that is dead, or that
-- has become another holder since, does not count.
-- The answer: [number of the gateway's last batch with operations, whether it counted as alive, gateways
-- alive, whether it shall read the quotas from the ledger, results of takes and looks].
-- A gateway is kept as [seen, number of its last batch, of its last one with operations, holder]: a batch
-- that comes after a later one is not executed, so that what became of a lost one can be told.
local PREFIX = KEYS[1]
local DEAD_AFTER, FORGOTTEN_AFTER = 20, 3600
local CLAIM, SEEDED = 30000, 600000
local HELD, DAY, MARGIN = 86400, 86400, 60
local ROUNDING = 1e-6

local batch = cmsgpack.unpack(ARGV[1])
local gateway, number, holder, now, rules, operations = unpack(batch)
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local packed = redis.call('GET', PREFIX .. 'gateways')
local fleet = packed and cmsgpack.unpack(packed) or {}
local me = fleet[gateway]
local before = me and me[3] or 0
local alive = me ~= nil and now - me[1] <= DEAD_AFTER
if me and number <= me[2] then
  return cmsgpack.pack({before, alive, 1, false, {}})
end
fleet[gateway] = {now, number, #operations > 0 and number or before, holder}
local live, gateways = {}, 0
for id, each in pairs(fleet) do
  if each[1] > now + 1 then each[1] = now end
  local silent = now - each[1]
  if silent > FORGOTTEN_AFTER then
    fleet[id] = nil
  elseif silent <= DEAD_AFTER then
    live[each[4]] = true
    gateways = gateways + 1
  end
end

local accounts = {}

local function account_of(name)
  local account = accounts[name]
  if account then return account end
  local kept = redis.call('GET', PREFIX .. name)
  if kept then
    kept = cmsgpack.unpack(kept)
    account = {used = kept[1], at = kept[2], held = kept[3], refill = kept[4], ends = kept[5], kept = true}
  else
    account = {used = 0, at = now, held = {}, refill = 0, ends = 0}
  end
  account.reserved = 0
  for id, amount in pairs(account.held) do
    if live[id] then account.reserved = account.reserved + amount else account.held[id] = nil end
  end
  if account.at > now + 1 then -- the clock was set back
    account.at, account.changed = now, true
  end
  accounts[name] = account
  return account
end

local function taken(account, refill)
  local elapsed = now - account.at
  if elapsed > 0 then
    account.at = now
    if refill > 0 then
      local rate = refill
      if account.refill > 0 and account.refill < refill then rate = account.refill end
      account.used = math.max(0, account.used - elapsed * rate)
    end
  end
  account.refill = refill
  return account.used + account.reserved
end

local function hold(account, amount)
  local mine = math.max(0, amount)
  account.reserved = account.reserved - (account.held[holder] or 0) + mine
  account.held[holder] = mine > 0 and mine or nil
  account.changed = true
end

local function cost_of(rule, tokens)
  return rule[4] == 1 and tokens or 1
end

local function undo(of_call, last, tokens)
  for index = 1, last do
    local rule = of_call[index]
    local account = accounts[rule[1]]
    if rule[4] == 0 then
      account.used = account.used - 1
    else
      hold(account, (account.held[holder] or 0) - cost_of(rule, tokens))
    end
  end
end

local function standing(of_call, first)
  local result = {first}
  for index, rule in ipairs(of_call) do
    result[index + 1] = taken(account_of(rule[1]), rule[3])
  end
  return result
end

local function take(of_call, tokens)
  local result = {1}
  for index, rule in ipairs(of_call) do
    local account = account_of(rule[1])
    local cost = cost_of(rule, tokens)
    local after = taken(account, rule[3]) + cost
    if after > rule[2] + ROUNDING then
      undo(of_call, index - 1, tokens)
      return standing(of_call, 0)
    end
    if rule[4] == 0 then account.used = account.used + 1 else hold(account, (account.held[holder] or 0) + cost) end
    account.ends = rule[5]
    account.changed = true
    result[index + 1] = after
  end
  return result
end

local function settle(of_call, reserved, tokens)
  for _, rule in ipairs(of_call) do
    if rule[4] ~= 0 then
      local account = account_of(rule[1])
      taken(account, account.refill > 0 and account.refill or rule[3])
      hold(account, (account.held[holder] or 0) - cost_of(rule, reserved))
      if rule[4] == 1 then account.used = account.used + tokens end
      account.ends = rule[5]
    end
  end
end

local left = false
local results = {}
for _, operation in ipairs(operations) do
  local kind = operation[1]
  if kind == 1 then
    results[#results + 1] = take(rules[operation[2]], operation[3])
  elseif kind == 2 then
    settle(rules[operation[2]], operation[3], operation[4])
  elseif kind == 3 then
    results[#results + 1] = standing(rules[operation[2]], 1)
  elseif kind == 4 then -- at least so much was used of a quota: name, tokens, end
    local account = account_of(operation[2])
    account.used = math.max(account.used, operation[3])
    account.ends = operation[4]
    account.changed = true
  elseif kind == 5 then -- this gateway holds exactly so much: name, amount
    hold(account_of(operation[2]), operation[3])
  elseif kind == 6 then -- so much was used elsewhere: name, refill, amount
    local account = account_of(operation[2])
    taken(account, operation[3])
    account.used = account.used + operation[4]
    account.changed = true
  elseif kind == 7 then -- the quotas stand as in the ledger
    redis.call('SET', PREFIX .. 'seeded', gateway, 'PX', SEEDED)
  else -- this gateway leaves and holds nothing
    left = true
  end
end

local function lifetime(account)
  local seconds = MARGIN
  if next(account.held) then seconds = HELD end
  if account.ends > 0 then seconds = math.max(seconds, account.ends - now + DAY) end
  if account.refill > 0 then seconds = math.max(seconds, account.used / account.refill + MARGIN) end
  return math.ceil(seconds * 1000)
end

for name, account in pairs(accounts) do
  if account.changed then
    if account.used > 0 or next(account.held) then
      local value = cmsgpack.pack({account.used, account.at, account.held, account.refill, account.ends})
      redis.call('SET', PREFIX .. name, value, 'PX', string.format('%.0f', lifetime(account)))
    elseif account.kept then
      redis.call('DEL', PREFIX .. name)
    end
  end
end
if left then fleet[gateway] = nil end
redis.call('SET', PREFIX .. 'gateways', cmsgpack.pack(fleet), 'PX', FORGOTTEN_AFTER * 1000)
local due = not left and redis.call('SET', PREFIX .. 'seeded', gateway, 'NX', 'PX', CLAIM)
return cmsgpack.pack({before, alive, gateways, due and true or false, results})
