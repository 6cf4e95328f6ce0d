/*
 * ddl_chosen.c
 *		Which groups leave out, or list, what a DDL statement is about.
 *
 * The session says it, before the statement runs.  It knows what its own
 * transaction has renamed, detached, dropped or made again before; who decodes
 * the statement reads the choice as it is by then, and catalogs as they were.
 */
#include "postgres.h"

#include "conf/choice.h"
#include "conf/known.h"
#include "source/ddl_chosen.h"

static void
note_choice(FloDdlObject *object, const FloTableChoice *choice)
{
	bool		left_out = OidIsValid(object->relation) &&
		flo_choice_excepts(choice, object->relation);

	if (object->creates)
		left_out |= flo_choice_excepts_name(choice, object->schema, object->name);
	if (left_out)
		object->left_out_of = lappend(object->left_out_of, choice->group);
	if (strcmp(object->type, "table") == 0 &&
		flo_choice_lists(choice, object->relation, object->schema, object->name))
		object->listed_in = lappend(object->listed_in, choice->group);
}

void
flo_ddl_note_choices(FloDdlStatement *ddl)
{
	ListCell   *group;
	ListCell   *cell;

	foreach(group, flo_known_replicators())
	{
		const FloKnownReplicator *replicator = lfirst(group);

		if (!replicator->ours || !replicator->spec->track_ddl)
			continue;
		foreach(cell, ddl->objects)
			note_choice(lfirst(cell), replicator->choice);
		foreach(cell, ddl->refers)
			note_choice(lfirst(cell), replicator->choice);
	}
}
