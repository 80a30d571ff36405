SET LOCAL ROLE modelyard_owner;

-- What was found when MLflow was compared with the records; a row only where that differs from the row before.
CREATE TABLE exp.reconciliations (
    reconciliation_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT reconciliations_pkey PRIMARY KEY,
    findings jsonb NOT NULL CONSTRAINT reconciliations_findings_check CHECK (
        jsonb_typeof(findings) = 'array'
        AND NOT jsonb_path_exists(findings, 'strict $[*] ? (@.type() != "object")')
        AND NOT jsonb_path_exists(findings, '$[*] ? (!exists(@.kind) || !exists(@.subject) || !exists(@.found))')
    ),
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER reconciliations_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.reconciliations
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();

GRANT SELECT ON exp.reconciliations TO trainer, evaluator, modelyard_viewer;
GRANT INSERT (findings) ON exp.reconciliations TO evaluator, modelyard_promoter;
