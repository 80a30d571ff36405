SET LOCAL ROLE modelyard_owner;

-- What the versions of a registered model must reach. The newest row of a model is its gate now; older ones stay.
CREATE TABLE exp.gates (
    gate_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT gates_pkey PRIMARY KEY,
    mlflow_model_name text NOT NULL CONSTRAINT gates_mlflow_model_name_check CHECK (mlflow_model_name <> ''),
    -- a list of limits, each a text, for each case
    gate jsonb NOT NULL CONSTRAINT gates_gate_check CHECK (
        jsonb_typeof(gate) = 'object'
        AND NOT jsonb_path_exists(gate, 'strict $.* ? (@.type() != "array")')
        AND NOT jsonb_path_exists(gate, 'strict $.*[*] ? (@.type() != "string")')
    ),
    gate_sha256 text NOT NULL CONSTRAINT gates_gate_sha256_check CHECK (gate_sha256 ~ '^[0-9a-f]{64}$'),
    reason text NOT NULL CONSTRAINT gates_reason_check CHECK (reason ~ '[^[:space:]]'),
    declared_by text NOT NULL DEFAULT session_user,
    declared_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX gates_mlflow_model_name_idx ON exp.gates (mlflow_model_name, gate_id DESC);
CREATE TRIGGER gates_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.gates
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();

CREATE VIEW exp.current_gates AS
SELECT DISTINCT ON (g.mlflow_model_name)
    g.mlflow_model_name, g.gate_id, g.gate, g.gate_sha256, g.reason, g.declared_by, g.declared_at
FROM exp.gates AS g
ORDER BY g.mlflow_model_name, g.gate_id DESC;

-- The sha256 of a gate in its canonical form: names in order, no blanks.
CREATE FUNCTION exp.hash_gate(gate jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, exp, pg_temp AS $$
    SELECT encode(sha256(convert_to(
        '{' || coalesce(string_agg(to_json(part.name)::text || ':[' || part.limits || ']', ',' ORDER BY part.name COLLATE "C"), '')
        || '}', 'UTF8'
    )), 'hex')
    FROM (
        SELECT entry.key AS name, (
            SELECT coalesce(string_agg(to_json(line.value)::text, ',' ORDER BY line.ordinality), '')
            FROM jsonb_array_elements_text(entry.value) WITH ORDINALITY AS line
        ) AS limits
        FROM jsonb_each(hash_gate.gate) AS entry
    ) AS part
$$;

-- The evaluator declares what its release ships. Where a person has declared a gate, that one holds and is returned.
CREATE FUNCTION exp.declare_gate(model_name text, gate jsonb, gate_sha256 text, reason text) RETURNS exp.gates
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    current_gate exp.gates;
    approval_required boolean;
BEGIN
    -- a promotion sees the gate as it was before, or as it is after
    SELECT p.requires_approval INTO approval_required FROM exp.policies AS p
    WHERE p.mlflow_model_name = declare_gate.model_name FOR NO KEY UPDATE;
    PERFORM pg_advisory_xact_lock(hashtextextended('gate ' || declare_gate.model_name, 0));
    SELECT g.* INTO current_gate FROM exp.gates AS g
    WHERE g.mlflow_model_name = declare_gate.model_name ORDER BY g.gate_id DESC LIMIT 1;
    -- or a verdict under other limits would count
    IF declare_gate.gate_sha256 <> exp.hash_gate(declare_gate.gate) THEN
        RAISE check_violation USING
            MESSAGE = format('this is not the sha256 of the gate: it is %s', exp.hash_gate(declare_gate.gate)),
            CONSTRAINT = 'gates_gate_sha256_check';
    END IF;
    -- whoever says so of a gate that came with a release keeps it against the next release
    IF (current_gate.gate_sha256 = declare_gate.gate_sha256
            AND (session_user = 'evaluator' OR current_gate.declared_by <> 'evaluator'))
        OR (session_user = 'evaluator' AND current_gate.declared_by <> 'evaluator') THEN
        RETURN current_gate;
    END IF;
    -- or whoever lacks an approval would lower the limits instead
    IF approval_required AND session_user <> 'evaluator'
        AND NOT pg_has_role(session_user, 'modelyard_approver', 'MEMBER') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the policy of %s requires approvals: its gate is declared by an approver',
                             declare_gate.model_name),
            CONSTRAINT = 'gates_approver_check';
    END IF;
    INSERT INTO exp.gates (mlflow_model_name, gate, gate_sha256, reason)
    VALUES (declare_gate.model_name, declare_gate.gate, declare_gate.gate_sha256, declare_gate.reason)
    RETURNING gates.* INTO current_gate;
    RETURN current_gate;
END
$$;

GRANT SELECT ON exp.gates TO trainer, evaluator, modelyard_viewer;
GRANT SELECT ON exp.current_gates TO trainer, evaluator, reader, modelyard_viewer;
GRANT EXECUTE ON FUNCTION exp.declare_gate TO evaluator, modelyard_promoter, modelyard_approver;
