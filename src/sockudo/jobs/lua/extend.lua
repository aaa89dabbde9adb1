-- End of the lease, leases.
local had = {}
for i, each in ipairs(having(2, #ARGV)) do
  had[i] = each and 1 or 0
  if each then
    place(each.stage, each.app, each.ref, later(ready_of(each.stage, each.ref), ARGV[1]), each.order)
  end
end
return had
