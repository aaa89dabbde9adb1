-- What every script of shared knowledge begins with. All keys are in one hash slot, so a script may make their names from
-- the one that it is given.
local base = KEYS[1]
