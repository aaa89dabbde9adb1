-- The version of the keys. One that is newer stays as it is.
redis.call('SET', base .. ':format', ARGV[1], 'NX')
return redis.call('GET', base .. ':format')
