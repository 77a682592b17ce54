-- Rates inside bands, windows and tiers are held to what the columns beside them are held to.
CREATE FUNCTION billing_holds_amounts(part jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN jsonb_typeof(part) = 'array' AND NOT jsonb_path_exists(
        part, '$.**.rates.* ? (@.type() != "number" || @ < 0 || @.floor() != @)'
    );

ALTER TABLE billing_priceversion
    ADD CONSTRAINT nested_rates_are_amounts CHECK (
        billing_holds_amounts(bands) AND billing_holds_amounts(windows) AND billing_holds_amounts(tiers)
    );
