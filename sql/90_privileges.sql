/*
 * 90_privileges.sql
 *		Functions for those who are granted them, the rest to be read.  The last
 *		part: it is about all that the others have made.
 */

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA flo FROM PUBLIC;
-- the views and policies call these with the rights of whoever looks
GRANT EXECUTE ON FUNCTION flo.of_this_library(), flo.member_stats(), flo.origin_position(text, text), flo.is_preloaded(), flo.launcher_problem(), flo.unpublished_since(text, bool),
	flo.unsaved_events(), flo.health_of(flo.status), flo.rate_of(text, text, bigint, timestamptz), flo.one_line(text, int),
	flo.short_interval(interval), flo.short_rate(float8),
	flo.owns_member(text), flo.left_out_tables(text), flo.key_is_sent(oid),
	flo.index_builds(), flo.copy_summary(text), flo.fence_status() TO PUBLIC;
-- who may use the secret that these need is asked by themselves
GRANT EXECUTE ON FUNCTION flo.secret(text), flo.pseudonym(text, text, text, text, bigint, bigint, int),
	flo.pseudonym(text, anyelement, text, text, bigint, bigint, int), flo.pseudonym_class(text), flo.hash(text, text, int, text),
	flo.encrypt(text, text), flo.decrypt(text, text), flo.truncate_date(date, text), flo.truncate_date(timestamp, text),
	flo.truncate_date(timestamptz, text), flo.json_set(jsonb, text[], jsonb), flo.json_mask(jsonb, text[], text) TO PUBLIC;
-- triggers that warn call these with the rights of whoever writes; they tell what everybody may see
GRANT EXECUTE ON FUNCTION flo.closest_name(text, text[]), flo.name_hint(text, text[], text, text), flo.unknown_names(flo.configured_names),
	flo.unknown_member(flo.configured_names), flo.unknown_table(flo.configured_names), flo.unknown_destination(flo.configured_names),
	flo.table_called(text, text), flo.table_called(text) TO PUBLIC;

-- What tells how things are, and holds no rows, is for those who watch the server.
-- Functions of SQL act as their caller, so he needs what they call, too.
GRANT EXECUTE ON FUNCTION flo.metrics(), flo.histograms(), flo.label_value(text), flo.healthy(text, interval),
	flo.stream_status(text) TO pg_monitor;

-- Rows that are not for everybody are kept back by policies.
GRANT SELECT ON ALL TABLES IN SCHEMA flo TO PUBLIC;
GRANT SELECT ON SEQUENCE flo.rules_id_seq, flo.routes_id_seq, flo.webhook_subscriptions_id_seq TO PUBLIC;
REVOKE ALL ON flo.secrets, flo.named_secrets, flo.event_log FROM PUBLIC;

-- What flo.check() says is names, numbers and states: for who watches the server, too.
-- It runs with the rights of whoever calls it, so this is all that it is made of.
GRANT EXECUTE ON FUNCTION flo.check(text), flo.check_server(int, int, int, int), flo.check_slot_limits(text),
	flo.check_source(text), flo.check_unsent(text, oid[], text[], bool, text[]), flo.check_large_objects(text, oid[]),
	flo.check_members(text), flo.check_rules(text), flo.check_routes(text), flo.check_roles(text), flo.check_names(text), flo.check_known(text, jsonb),
	flo.check_broker(text), flo.check_destination(text, jsonb, text[]), flo.compare_tables(text, jsonb, text[]),
	flo.compare_columns(flo.comparison[]), flo.check_presence(text, flo.comparison[], flo.compared_column[]),
	flo.check_columns(text, flo.comparison[], flo.compared_column[]), flo.check_keys(text, flo.comparison[]),
	flo.check_rights(text, flo.comparison[]), flo.check_grantees(text, jsonb, flo.comparison[]), flo.check_surroundings(text, flo.comparison[]),
	flo.covered_tables(text), flo.worker_targets(text, text[], text[]), flo.adoptable(oid[], oid[], oid[], oid[]),
	flo.rule_problem(bigint), flo.parts_of(oid), flo.short_list(text[], text),
	flo.type_called(jsonb), flo.type_below(oid), flo.type_fit(jsonb, oid, int), flo.shell_word(text),
	flo.table_statement(text, jsonb, jsonb), flo.mapped_key(jsonb, jsonb), flo.unique_columns(oid),
	flo.masking_report(text), flo.rule_class(text, jsonb), flo.columns_of_group(text, text[]), flo.published_tables(text) TO pg_monitor;
