-- What is given back of a request never exceeds its price, whoever writes the row. The wallet's lock, which the
-- services hold anyway, keeps two of them from counting past each other.
CREATE FUNCTION billing_correction_within_price() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    v_record record;
    v_given bigint;
    v_forgiven bigint;
BEGIN
    PERFORM 1 FROM billing_wallet w WHERE w.organization_id = NEW.organization_id FOR UPDATE;
    SELECT u.organization_id, u.charge_nano, u.uncollected_nano INTO v_record
    FROM billing_usagerecord u WHERE u.request_id = NEW.request_id;
    SELECT coalesce(sum(c.amount_nano), 0), coalesce(sum(c.uncollected_nano), 0) INTO v_given, v_forgiven
    FROM billing_usagecorrection c WHERE c.request_id = NEW.request_id;
    IF v_record IS NULL OR v_record.organization_id <> NEW.organization_id
        OR v_forgiven + NEW.uncollected_nano > v_record.uncollected_nano
        OR v_given - v_forgiven + NEW.amount_nano - NEW.uncollected_nano > v_record.charge_nano
    THEN
        RAISE EXCEPTION 'the corrections of % exceed its price', NEW.request_id USING ERRCODE = 'FB004';
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER correction_within_price BEFORE INSERT ON billing_usagecorrection
FOR EACH ROW EXECUTE FUNCTION billing_correction_within_price();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_usagecorrection
FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change();
