/*
 * ownership.c
 *		May this database do what it likes with a group's stream, copy stream and
 *		state bucket?
 *
 * Three answers have to agree.  What is recorded with each of them says which
 * database made it (bus/owner.h).  What was published says which system and
 * which life of the slot it is from, and what is older than the record has
 * nothing else.  And a copy of this database, made of its files, is the same to
 * both of these until it publishes, or the other one does: it shows by a
 * session that was not begun here, or by WAL that is not what is here; and as long
 * as neither has shown, one that publishes says now and then that it lives.
 *
 * flo.resync() leads out of the latter, so what it has marked is not asked for it.
 * Nor is a standby, which removes nothing.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "bus/records.h"
#include "commands/dbcommands.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/names.h"
#include "core/text.h"
#include "miscadmin.h"
#include "source/ownership.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

/*
 * ms for which is waited at most for who lives to say so again, and between two looks.
 * Who may be silent for longer is not known to be dead.
 */
#define LONGEST_SILENCE 6000
#define SILENCE_SLACK 500
#define SILENCE_NAP 100

static const char *const hint_elsewhere =
"Use another group name, or another NATS account. What is there can be removed in that database.";

static const char *const hint_dropped =
"If that database was dropped, flo.drop_replicator(..., purge_stream => true, force => true) removes what it has left; else it has another name now.";

FloOwner
flo_ownership_here(void)
{
	FloOwner	owner = {0};

	owner.system_identifier = GetSystemIdentifier();
	owner.database_oid = MyDatabaseId;
	owner.database = get_database_name(MyDatabaseId);
	owner.cluster = cluster_name;
	return owner;
}

/* --- descriptions -------------------------------------------------------- */

char *
flo_ownership_of_stream(const FloClaim *claim)
{
	return flo_owner_describe(psprintf("pg_flo group %s", claim->group), &claim->owner);
}

char *
flo_ownership_of_copy(const FloClaim *claim)
{
	return flo_owner_describe(psprintf("copy of pg_flo group %s", claim->group), &claim->owner);
}

char *
flo_ownership_of_bucket(const FloClaim *claim)
{
	return flo_owner_describe(psprintf("state of pg_flo group %s", claim->group), &claim->owner);
}

/* --- disputes ------------------------------------------------------------ */

/* Is it recorded as somebody else's?  "recorded" is set when it is as anybody's. */
static FloDispute *
recorded_dispute(const FloClaim *claim, const char *what, const FloStreamInfo *info, bool *recorded)
{
	FloOwner   *owner = flo_owner_read(info->description);

	*recorded = owner != NULL;
	if (owner == NULL || flo_owner_is_same(owner, &claim->owner))
		return NULL;
	if (owner->system_identifier == claim->owner.system_identifier &&
		strcmp(owner->database, claim->owner.database) == 0)
		return flo_dispute(false, hint_dropped, "the %s is owned by another source: another database of this cluster that was called \"%s\"",
						   what, owner->database);
	return flo_dispute(false, hint_elsewhere, "the %s is owned by another source: %s", what,
					   flo_owner_shown(owner));
}

/* Does the state bucket tell of a generation that follows ours? */
static bool
is_of_later_generation(FloBus *bus, const FloClaim *claim)
{
	FloGenerationRecord *record = flo_records_get(bus, flo_name_bucket(claim->group),
												  FLO_GENERATION_KEY, &flo_generation_format);
	char	   *ours = flo_text_of_uuid(&claim->generation->id);
	ListCell   *cell;

	foreach(cell, record != NULL ? record->follows : NIL)
	{
		if (strcmp(lfirst(cell), ours) == 0)
			return true;
	}
	return false;
}

/* What does the newest chunk say? */
static FloDispute *
published_dispute(FloBus *bus, const FloClaim *claim, const FloStreamEnd *end)
{
	FloChunkHeader identity = {0};
	FloDispute *dispute;
	bool		earlier;

	identity.system_identifier = claim->owner.system_identifier;
	if (RecoveryInProgress() || (claim->generation != NULL && claim->generation->resync))
		return flo_session_dispute_system(&end->newest, &identity);
	identity.timeline = GetWALInsertionTimeLine();
	dispute = flo_session_dispute(end, &identity, claim->generation, &earlier);
	if (dispute != NULL && dispute->removable && claim->generation != NULL &&
		is_of_later_generation(bus, claim))
		dispute->removable = false;
	return dispute;
}

FloDispute *
flo_ownership_dispute(FloBus *bus, const FloClaim *claim)
{
	const char *stream = flo_name_stream(claim->group);
	const char *copy = flo_name_copy_stream(claim->group);
	FloStreamInfo info;
	FloStreamEnd end;
	FloDispute *dispute;
	bool		recorded;

	if (flo_stream_info(bus, stream, &info))
	{
		dispute = recorded_dispute(claim, "stream", &info, &recorded);
		if (dispute != NULL)
			return dispute;
		flo_session_read_end(bus, stream, &info, &end);
		if (end.found && (dispute = published_dispute(bus, claim, &end)) != NULL)
		{
			dispute->removable &= recorded || claim->generation != NULL;
			return dispute;
		}
		if (!end.found && info.messages > 0 && claim->generation == NULL)
			return flo_dispute(recorded, hint_elsewhere,
							   "stream \"%s\" is owned by another source: its messages are not pg_flo's", stream);
	}
	if (flo_stream_info(bus, copy, &info))
	{
		dispute = recorded_dispute(claim, "copy stream", &info, &recorded);
		if (dispute != NULL)
			return dispute;
		flo_session_read_end(bus, copy, &info, &end);
		if (!recorded && end.found &&
			end.newest.system_identifier != claim->owner.system_identifier)
			return flo_dispute(false, hint_elsewhere,
							   "the copy stream is owned by another source: system " UINT64_FORMAT,
							   end.newest.system_identifier);
	}
	if (flo_bucket_info(bus, flo_name_bucket(claim->group), &info))
		return recorded_dispute(claim, "state bucket", &info, &recorded);
	return NULL;
}

static bool
is_one_of(const char *state, const char *one, const char *other)
{
	return state != NULL && (strcmp(state, one) == 0 || strcmp(state, other) == 0);
}

FloDispute *
flo_ownership_living_copy(FloBus *bus, const char *group)
{
	char	   *bucket = flo_name_bucket(group);
	FloSourceRecord *before = flo_records_get(bus, bucket, FLO_SOURCE_KEY, &flo_source_format);
	FloSourceRecord *now = before;
	FloClock	deadline;

	if (before == NULL)
		return NULL;
	deadline = flo_clock_in(Min(2 * before->interval, LONGEST_SILENCE) + SILENCE_SLACK);
	while (now != NULL && !is_one_of(now->state, FLO_SOURCE_STOPPED, FLO_SOURCE_SHUT_DOWN) &&
		   flo_clock() < deadline)
	{
		/* an error may be our own replicator's last word */
		if (now->at != before->at &&
			!is_one_of(now->state, FLO_SOURCE_FAILED, FLO_SOURCE_BACKOFF))
			return flo_dispute(false, NULL, "another copy of this database publishes to the stream");
		flo_bus_wait(bus, SILENCE_NAP);
		now = flo_records_get(bus, bucket, FLO_SOURCE_KEY, &flo_source_format);
	}
	if (flo_clock() >= deadline && 2 * before->interval > LONGEST_SILENCE)
		return flo_dispute(false, NULL,
						   "another copy of this database may publish to the stream, which would say so only every " INT64_FORMAT " s",
						   before->interval / 1000);
	return NULL;
}

/* --- for agents ---------------------------------------------------------- */

char *
flo_ownership_claim(const char *group)
{
	FloOwner	owner = flo_ownership_here();
	FloGeneration *generation = flo_store_generation(group);
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"group\":\"%s\",\"owner\":%s", group, flo_owner_write(&owner));
	if (generation != NULL)
	{
		appendStringInfo(&buf, ",\"generation\":\"%s\",\"start\":" UINT64_FORMAT ",\"epoch\":" UINT64_FORMAT ",\"follows\":[",
						 flo_text_of_uuid(&generation->id),
						 generation->start, generation->epoch);
		foreach(cell, generation->follows)
			appendStringInfo(&buf, "%s\"%s\"", foreach_current_index(cell) > 0 ? "," : "",
							 (char *) lfirst(cell));
		appendStringInfoChar(&buf, ']');
	}
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

FloClaim
flo_ownership_parse(FloJson json)
{
	FloClaim	claim = {0};
	FloGeneration *generation = palloc0(sizeof(FloGeneration));
	FloJson		owner;
	FloJson		follows;
	FloJson		one;
	char	   *id = flo_json_get_string(json, "generation");
	uint64		start = 0;
	int			cursor = 0;

	claim.group = flo_json_get_string(json, "group");
	if (claim.group == NULL || !flo_json_get(json, "owner", &owner))
		elog(ERROR, "a claim needs a group and an owner");
	claim.owner = *flo_owner_parse(owner);
	if (id == NULL)
		return claim;
	flo_uuid_of_text(id, &generation->id);
	flo_json_get_uint64(json, "start", &start);
	generation->start = start;
	flo_json_get_uint64(json, "epoch", &generation->epoch);
	if (flo_json_get(json, "follows", &follows))
		while (flo_json_next_element(follows, &cursor, &one))
			generation->follows = lappend(generation->follows, flo_json_string(one));
	claim.generation = generation;
	return claim;
}
