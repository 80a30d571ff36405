SET LOCAL ROLE modelyard_owner;

-- Statement triggers with this function make a table insert-only for every role, its owner included.
CREATE FUNCTION exp.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    RAISE restrict_violation USING
        MESSAGE = format('%s of %I.%I is refused: its rows are never changed',
                         TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
        CONSTRAINT = TG_NAME;
END
$$;
