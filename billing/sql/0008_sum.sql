-- The sum of 64-bit integers in 64 bits: an error where it does not fit, and a tenth of the memory that sum()
-- needs for each group, of which the books check has millions. Nothing to sum is 0.
CREATE AGGREGATE billing_sum(bigint) (
    SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, INITCOND = '0', PARALLEL = SAFE);
