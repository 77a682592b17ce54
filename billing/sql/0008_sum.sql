-- The sum of 64-bit integers in 64 bits: an error where it does not fit, and a tenth of the memory that sum()
-- needs for each group, of which the books check has many. Nothing to sum is 0.
CREATE AGGREGATE billing_sum(bigint) (
    SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, INITCOND = '0', PARALLEL = SAFE);

-- An amount times a number drawn from what it belongs to, modulo a prime. Two heaps of amounts with the same
-- sum of marks hold the same for each owner; they differ unseen once in a billion times. Sums of marks are
-- compared modulo the same prime.
CREATE FUNCTION billing_mark(amount bigint, owner bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN mod(mod(amount, 2147483647) * ((hashint8(owner) & 1073741823) + 1), 2147483647);
