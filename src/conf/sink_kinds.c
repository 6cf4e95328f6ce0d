/*
 * sink_kinds.c
 *		The names that kinds of sinks have in SQL, and what they need.
 */
#include "postgres.h"

#include <unistd.h>

#include "conf/sink_kinds.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"

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

void
flo_sink_require_module(FloSinkKind kind)
{
	static const char module[] = "pg_flo_kafka";

	if (kind != FLO_SINK_KAFKA ||
		access(psprintf("%s/%s%s", pkglib_path, module, DLSUFFIX), R_OK) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FILE),
			 errmsg("sink \"%s\" needs the module %s, which is not installed", names[kind], module),
			 errhint("It is built and installed where librdkafka and its headers are, 2.0 or later (Debian: librdkafka-dev).")));
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
