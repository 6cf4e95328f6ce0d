/*
 * sink_kinds.c
 *		The names that kinds of sinks have in SQL.
 */
#include "postgres.h"

#include "conf/sink_kinds.h"
#include "lib/stringinfo.h"

static const char *const names[] = {
#define FLO_SINK(kind, name, ops) [kind] = name,
#include "conf/sink_list.h"
#undef FLO_SINK
};

const char *
flo_sink_name(FloSinkKind kind)
{
	return names[kind];
}

bool
flo_sink_find(const char *name, FloSinkKind *kind)
{
	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(name, names[i]) != 0)
			continue;
		*kind = (FloSinkKind) i;
		return true;
	}
	return false;
}

char *
flo_sink_names(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(names); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", names[i]);
	return list.data;
}
