SET LOCAL ROLE modelyard_owner;

CREATE TABLE exp.datasets (
    dataset_id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT datasets_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT datasets_name_check CHECK (name <> ''),
    -- 1.2.0 by our rule, or what a person says: a date such as 2025-01-03 is one too
    version text NOT NULL CONSTRAINT datasets_version_check CHECK (version ~ '^[0-9A-Za-z][0-9A-Za-z._+-]{0,63}$'),
    workload text NOT NULL,
    digest text NOT NULL CONSTRAINT datasets_digest_check CHECK (digest ~ '^[0-9a-f]{64}$'),
    raw_digest text NOT NULL CONSTRAINT datasets_raw_digest_check CHECK (raw_digest ~ '^[0-9a-f]{64}$'),
    raw_files jsonb NOT NULL CONSTRAINT datasets_raw_files_check CHECK (
        jsonb_typeof(raw_files) = 'array'
        AND NOT jsonb_path_exists(raw_files, '$[*] ? (!(exists(@.name) && exists(@.sha256) && exists(@.size_bytes)))')
    ),
    location text NOT NULL,
    mlflow_run_id text NOT NULL,
    num_rows bigint NOT NULL CONSTRAINT datasets_num_rows_check CHECK (num_rows > 0),
    num_elements bigint NOT NULL CONSTRAINT datasets_num_elements_check CHECK (num_elements > 0),
    schema jsonb NOT NULL,
    profile jsonb NOT NULL,
    split_counts jsonb NOT NULL,
    parameters jsonb NOT NULL,
    data_source text NOT NULL,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT datasets_name_version_key UNIQUE (name, version),
    CONSTRAINT datasets_name_digest_key UNIQUE (name, digest)
);
CREATE INDEX datasets_workload_created_at_idx ON exp.datasets (workload, created_at DESC);
CREATE INDEX datasets_digest_idx ON exp.datasets (digest);

CREATE TABLE exp.dataset_files (
    dataset_id uuid NOT NULL CONSTRAINT dataset_files_dataset_id_fkey REFERENCES exp.datasets,
    path text NOT NULL,
    sha256 text NOT NULL CONSTRAINT dataset_files_sha256_check CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes bigint NOT NULL CONSTRAINT dataset_files_size_bytes_check CHECK (size_bytes >= 0),
    CONSTRAINT dataset_files_pkey PRIMARY KEY (dataset_id, path)
);

-- The list of files is closed with the transaction that records the dataset.
CREATE FUNCTION exp.refuse_late_dataset_files() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM exp.datasets AS d WHERE d.dataset_id = NEW.dataset_id AND d.created_xact = pg_current_xact_id()
    ) THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('file %s is refused: dataset %s is recorded, its list of files is closed',
                             NEW.path, NEW.dataset_id),
            CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER dataset_files_closed_check BEFORE INSERT ON exp.dataset_files
FOR EACH ROW EXECUTE FUNCTION exp.refuse_late_dataset_files();

CREATE TRIGGER datasets_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.datasets
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
CREATE TRIGGER dataset_files_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.dataset_files
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
