/*
 * 90_privileges.sql
 *		Functions for those who are granted them, the rest to be read.  The last
 *		part: it is about all that the others have made.
 */

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA flo FROM PUBLIC;
-- the views and policies call these with the rights of whoever looks
GRANT EXECUTE ON FUNCTION flo.member_stats(), flo.origin_position(text, text), flo.is_preloaded(), flo.launcher_problem(),
	flo.unsaved_events(),
	flo.owns_member(text), flo.left_out_tables(text), flo.key_is_sent(oid) TO PUBLIC;

-- Rows that are not for everybody are kept back by policies.
GRANT SELECT ON ALL TABLES IN SCHEMA flo TO PUBLIC;
GRANT SELECT ON SEQUENCE flo.rules_id_seq, flo.routes_id_seq, flo.webhook_subscriptions_id_seq TO PUBLIC;
REVOKE ALL ON flo.secrets, flo.event_log FROM PUBLIC;
