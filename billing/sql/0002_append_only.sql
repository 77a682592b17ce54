CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_usagerecord
FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_grant
FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_priceversion
FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change();
