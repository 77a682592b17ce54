-- Usage records: partitioned by month over the uuid7 request id, whose first 48 bits are milliseconds. So the
-- primary key is the request id alone, unique for ever, and still prunes by time.
CREATE TABLE billing_usagerecord (
    request_id uuid PRIMARY KEY,
    batch_id uuid NOT NULL,
    organization_id bigint NOT NULL,
    reseller_id bigint NOT NULL,
    api_key_id bigint NOT NULL,
    model varchar(120) NOT NULL,
    channel varchar(120) NOT NULL,
    upstream_model varchar(200) NOT NULL,
    input_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_5m_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    audio_input_tokens bigint NOT NULL,
    audio_output_tokens bigint NOT NULL,
    image_input_tokens bigint NOT NULL,
    charge_nano bigint NOT NULL,
    uncollected_nano bigint NOT NULL,
    cost_nano bigint NOT NULL,
    retail_version_id bigint NOT NULL,
    cost_version_id bigint,
    usage_source varchar(20) NOT NULL,
    ending varchar(20) NOT NULL,
    is_stream boolean NOT NULL,
    started_at timestamptz NOT NULL,
    first_output_at timestamptz,
    ended_at timestamptz NOT NULL,
    CONSTRAINT usage_not_negative CHECK (
        input_tokens >= 0 AND cache_read_tokens >= 0 AND cache_write_5m_tokens >= 0
        AND cache_write_1h_tokens >= 0 AND output_tokens >= 0 AND reasoning_tokens >= 0
        AND audio_input_tokens >= 0 AND audio_output_tokens >= 0 AND image_input_tokens >= 0
        AND charge_nano >= 0 AND uncollected_nano >= 0 AND cost_nano >= 0)
) PARTITION BY RANGE (request_id);

CREATE INDEX billing_usagerecord_organization ON billing_usagerecord (organization_id, request_id DESC);
CREATE INDEX billing_usagerecord_batch ON billing_usagerecord (batch_id);

-- Takes what no month covers, so that a wrong clock never loses a record. Stays empty otherwise.
CREATE TABLE billing_usagerecord_default PARTITION OF billing_usagerecord DEFAULT;
