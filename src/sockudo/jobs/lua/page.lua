-- App, group or "*", stage or "", below which number, limit; stages.
local prefix, limit = ARGV[1] .. '\0', tonumber(ARGV[5])
local top = ARGV[4] ~= '' and '(' .. ARGV[4] or '+inf'
local shares = {prefix .. ARGV[2]}
if ARGV[2] == '*' then
  shares = {}
  for _, share in ipairs(redis.call('SMEMBERS', SHARES)) do
    if string.sub(share, 1, #prefix) == prefix then shares[#shares + 1] = share end
  end
end
local found = {}
for _, share in ipairs(shares) do
  for i = 6, #ARGV do
    if ARGV[3] == '' or ARGV[3] == ARGV[i] then
      local refs = redis.call('ZREVRANGEBYSCORE', listed_key(ARGV[i], share), top, '-inf', 'LIMIT', 0, limit)
      for _, ref in ipairs(refs) do found[#found + 1] = ref end
    end
  end
end
table.sort(found, function(one, other) return one > other end)
local page = {}
for i = 1, math.min(limit, #found) do
  local ref = found[i]
  page[i] = {ref,
    unpack(redis.call('HMGET', message_key(ref), 'key', 'stage', 'app', 'body', 'due_at_ms', 'order', 'kept_order', 'alone'))}
end
return page
