-- The version of the keys, that of today where there are none.
return redis.call('GET', base .. ':format') or ARGV[1]
