-- End of the lease, leases.
local had = {}
for i, each in ipairs(having(2, #ARGV)) do
  had[i] = each and 1 or 0
  if each then
    local ready = redis.call('ZSCORE', order_key(each.stage), each.ref)
    place(each.stage, each.app, each.ref, later(ready, ARGV[1]))
  end
end
return had
