-- Stages. For each share and stage with jobs: share, stage, jobs, leased ones.
local tallies = {}
local shares = redis.call('SMEMBERS', SHARES)
for _, stage in ipairs(ARGV) do
  local leased = {}
  for _, ref in ipairs(redis.call('SMEMBERS', held_key(stage))) do
    local share = redis.call('HGET', message_key(ref), 'app')
    leased[share] = (leased[share] or 0) + 1
  end
  for _, share in ipairs(shares) do
    local jobs = redis.call('ZCARD', listed_key(stage, share))
    if jobs > 0 then tallies[#tallies + 1] = {share, stage, jobs, leased[share] or 0} end
  end
end
return tallies
