-- Id.
return {fields(ARGV[1]), redis.call('LRANGE', attempts_key(ARGV[1]), 0, -1)}
