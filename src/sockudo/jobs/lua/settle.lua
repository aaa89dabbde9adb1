-- How many arguments are leases, leases; jobs. Without leases it is put.
local last = tonumber(ARGV[1]) + 1
local had = {}
for i, each in ipairs(having(2, last)) do
  -- It may be listed twice.
  had[i] = each and remove(each.stage, each.app, each.key_stage, each.key, each.ref, each.order) and 1 or 0
end
put(last + 1)
return had
