-- Stage, share, came before, limit, now, end of the lease, token.
local stage, share, before, limit, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local function is_old(ref)
  return tonumber(redis.call('HGET', message_key(ref), 'enqueued_at_ms')) < before and is_free(stage, ref, now)
end
local chosen, from, step = {}, 0, 1000
-- Those far behind have their turn when there are fewer.
while #chosen < limit and from < 10 * step do
  local refs = redis.call('ZRANGE', listed_key(stage, share), from, from + step - 1)
  for _, ref in ipairs(refs) do
    local order = redis.call('HGET', message_key(ref), 'order')
    local first = order and redis.call('ZRANGE', line_key(stage, share, order), 0, 0)[1] or ref
    if #chosen < limit and is_old(ref) and is_old(first) then chosen[#chosen + 1] = {ref, order} end
  end
  if #refs < step then break end
  from = from + step
end
local taken = {}
for i, each in ipairs(chosen) do taken[i] = leased(stage, share, each[1], each[2], ARGV[7], now, ARGV[6]) end
return taken
