ALTER TABLE billing_usagerecord
    ADD COLUMN wholesale_nano bigint NOT NULL DEFAULT 0 CONSTRAINT wholesale_not_negative CHECK (wholesale_nano >= 0),
    ADD COLUMN wholesale_version_id bigint,
    ADD COLUMN service_tier varchar(20) NOT NULL DEFAULT '';
