/*
 * greeting.h
 *		Why no NATS server lets us in.
 */
#ifndef FLO_GREETING_H
#define FLO_GREETING_H

#include "bus/bus_impl.h"

/* What stands between the servers in pg_flo.nats_url */
#define FLO_NATS_URL_SEPARATORS ", \t\n"

/*
 * Ask each of the servers, for up to "timeout_ms", or less when they are many; name
 * look-ups not counted.  OK
 * when all greet as a NATS server does, and nothing more is known.  Else what is
 * wrong, in "words"; of several servers by host and port, those that greet with
 * the words of the library, "said".
 */
extern FloNatsStatus flo_nats_explain(const char *urls, int timeout_ms, const char *said,
									  char *words, size_t size);

#endif
