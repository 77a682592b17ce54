-- Every organization has a wallet from the moment it exists.
CREATE FUNCTION billing_open_wallet() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_wallet (organization_id, currency, posted, pending, status)
    VALUES (NEW.id, 'USD', 0, 0, 'active');
    RETURN NEW;
END;
$$;

CREATE TRIGGER open_wallet AFTER INSERT ON accounts_organization
FOR EACH ROW EXECUTE FUNCTION billing_open_wallet();
