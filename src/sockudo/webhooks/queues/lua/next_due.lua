-- Endpoints that are left alone.
local besides = listed(1)
local function first(key, prefix)
  local from, step = 0, 50
  while true do
    local found = redis.call('ZRANGE', key, from, from + step - 1, 'WITHSCORES')
    for i = 1, #found, 2 do
      if not besides[endpoint_of(string.sub(found[i], prefix + 1))] then return found[i + 1] end
    end
    if #found < 2 * step then return nil end
    from = from + step
  end
end
local due, leased = first(DUE, 16), first(LEASES, 0)
if due and leased then return tonumber(due) <= tonumber(leased) and due or leased end
return due or leased or false
