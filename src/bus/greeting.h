/*
 * greeting.h
 *		Why a NATS server sends somebody away at once.
 */
#ifndef FLO_GREETING_H
#define FLO_GREETING_H

/* What stands between the servers in pg_flo.nats_url */
#define FLO_NATS_URL_SEPARATORS ", \t\n"

/*
 * What one of the servers says to send us away, before anything is said to it:
 * the words of its -ERR.  False when none does so within "timeout_ms" each.
 */
extern bool flo_nats_refusal(const char *urls, int timeout_ms, char *words, size_t size);

#endif
