-- What every script begins with. The keys are described in sockudo/webhooks/earlier_redis.py.
local base = KEYS[1]
local DUE, LEASES, TOKENS = base .. ':due', base .. ':leases', base .. ':lane-tokens'
local ENDPOINTS = base .. ':endpoints'

local function delivery_key(id) return base .. ':delivery:' .. id end
local function attempts_key(id) return base .. ':attempts:' .. id end
local function lane_key(lane) return base .. ':lane:' .. lane end
local function lanes_key(endpoint) return base .. ':lanes:' .. endpoint end
local function index_key(state, endpoint) return base .. ':' .. state .. ':' .. endpoint end

-- ["app","endpoint",3] without its last part.
local function endpoint_of(lane) return string.match(lane, '^(.*),%-?%d+%]$') .. ']' end
