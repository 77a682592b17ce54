CREATE OR REPLACE FUNCTION billing_open_wallet() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_wallet (organization_id, currency, posted, pending, receivable, status)
    VALUES (NEW.id, 'USD', 0, 0, 0, 'active');
    RETURN NEW;
END;
$$;
