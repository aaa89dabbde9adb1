-- Adds up hits, four arguments each: the window, the hits, what the node knows to be counted, the milliseconds left. Each
-- is answered with the total and the milliseconds left. A window that is not known begins with what the node knows.
local answers = {}
for at = 1, #ARGV, 4 do
  local key, added, known = base .. ':' .. ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local left = redis.call('PTTL', key)
  local total
  if left > 0 then
    total = redis.call('INCRBY', key, added)
  else
    total, left = math.max(added, known), tonumber(ARGV[at + 3])
    redis.call('SET', key, string.format('%.0f', total), 'PX', string.format('%.0f', left))
  end
  answers[#answers + 1] = {total, left}
end
return answers
