/*
 * ddl_made.c
 *		What a statement of the session makes, while it runs.
 *
 * The server gives names to what a statement only implies (the index of a key,
 * the sequence of a serial column, all that arises on partitions), and which
 * ones depends on what is there.  Each object that is made passes through the
 * server's object access hook; what they are called is looked up when the
 * statement is over, and told.
 *
 * Until a session runs its first tracked statement the hook is not installed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "conf/given_names.h"
#include "core/as_role.h"
#include "source/ddl_made.h"
#include "source/ddl_objects.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

static FloDdlMade *watching = NULL;
static object_access_hook_type next_object_access = NULL;

/*
 * What is changed may have got another name: by the statement itself, or, an
 * array type, because something else has taken its name.
 */
static bool
may_be_named(ObjectAccessType access, Oid class, int part)
{
	return (access == OAT_POST_CREATE || access == OAT_POST_ALTER) && part == 0 &&
		(class == RelationRelationId || class == ConstraintRelationId || class == TypeRelationId ||
		 class == StatisticExtRelationId);
}

static void
watch(ObjectAccessType access, Oid class, Oid id, int part, void *arg)
{
	MemoryContext old;
	ObjectAddress *object;

	if (next_object_access)
		next_object_access(access, class, id, part, arg);
	if (watching == NULL || !may_be_named(access, class, part))
		return;
	old = MemoryContextSwitchTo(watching->context);
	object = palloc(sizeof(ObjectAddress));
	ObjectAddressSet(*object, class, id);
	watching->objects = lappend(watching->objects, object);
	MemoryContextSwitchTo(old);
}

FloDdlMade *
flo_ddl_made_watch(FloDdlMade *made)
{
	static bool installed = false;
	FloDdlMade *before = watching;

	if (!installed)
	{
		next_object_access = object_access_hook;
		object_access_hook = watch;
		installed = true;
	}
	watching = made;
	return before;
}

FloDdlMade *
flo_ddl_made_watched(void)
{
	return watching;
}

static bool
is_private(const FloNamedThing *thing)
{
	return (OidIsValid(thing->named.relation) &&
			get_rel_persistence(thing->named.relation) == RELPERSISTENCE_TEMP) ||
		flo_ddl_is_private_schema(get_namespace_oid(thing->named.schema, true));
}

static HTAB *
make_set(void)
{
	HASHCTL		control = {
		.keysize = sizeof(ObjectAddress),
		.entrysize = sizeof(ObjectAddress),
		.hcxt = CurrentMemoryContext
	};

	return hash_create("pg_flo made objects", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Each is told once, at the place where it was made */
List *
flo_ddl_made_names(FloDdlMade *made)
{
	List	   *names = NIL;
	HTAB	   *seen;
	FloAsRole	as;

	if (made->told == list_length(made->objects))
		return NIL;
	CommandCounterIncrement();
	seen = make_set();
	flo_given_names_enter(&as);
	for (; made->told < list_length(made->objects); made->told++)
	{
		ObjectAddress *object = list_nth(made->objects, made->told);
		bool		again;
		FloNamedThing *thing;

		(void) hash_search(seen, object, HASH_ENTER, &again);
		thing = again ? NULL : flo_given_name(object);
		if (thing != NULL && !is_private(thing))
			names = lappend(names, &thing->named);
	}
	flo_as_role_leave(&as);
	hash_destroy(seen);
	return names;
}
