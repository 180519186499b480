/* The request that get sends. Pure. */
#ifndef GET_REQUEST_H
#define GET_REQUEST_H

#include "get_args.h"
#include "get_url.h"

enum { GET_REQUEST_MAX = 64 * 1024 };

/* The user's fields stand in for ours of the same name. `same_origin`: the URL is on the server that the user named;
 * what is meant for that server alone goes to no other. Result: its length; -E2BIG. */
int get_format_request(const struct get_args *args, const struct url *url, int same_origin, char text[GET_REQUEST_MAX]);

#endif
