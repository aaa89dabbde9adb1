-- Stages, "", apps that are left alone.
local least, besides, last = false, {}, #ARGV
for i = 1, #ARGV do
  if ARGV[i] == '' then
    last = i - 1
    for j = i + 1, #ARGV do besides[ARGV[j]] = true end
    break
  end
end
for i = 1, last do
  local from, step, first = 0, 50, false
  while not first do
    local found = redis.call('ZRANGE', heads_key(ARGV[i]), from, from + step - 1, 'WITHSCORES')
    for j = 1, #found, 2 do
      if not first and not besides[string.sub(found[j], 17)] then first = found[j + 1] end
    end
    if #found < 2 * step then break end
    from = from + step
  end
  if first and (not least or tonumber(first) < tonumber(least)) then least = first end
end
return least
