// To compare with: an echo server on Boost.Asio, with a buffer of 64 KiB for each session. It is built twice: on epoll,
// and with BOOST_ASIO_HAS_IO_URING and BOOST_ASIO_DISABLE_EPOLL on io_uring, which Boost 1.78 was the first to know.
#include <array>
#include <boost/asio.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>

#include "common_peer.h"

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

class Session : public std::enable_shared_from_this<Session> {
public:
    explicit Session(tcp::socket socket) : socket_(std::move(socket)) {}

    void read()
    {
        socket_.async_read_some(asio::buffer(data_), [self = shared_from_this()](error_code ec, std::size_t n) {
            if (!ec)
                self->write(n);
        });
    }

private:
    void write(std::size_t n)
    {
        asio::async_write(socket_, asio::buffer(data_, n), [self = shared_from_this()](error_code ec, auto) {
            if (!ec)
                self->read();
        });
    }

    tcp::socket socket_;
    std::array<char, 65536> data_;
};

void accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](error_code ec, tcp::socket socket) {
        if (!ec)
            std::make_shared<Session>(std::move(socket))->read();
        accept(acceptor);
    });
}

#ifdef BOOST_ASIO_HAS_IO_URING
constexpr char world[] = "Asio, io_uring";
#else
constexpr char world[] = "Asio, epoll";
#endif

}  // namespace

int main(int argc, char **argv)
try {
    asio::io_context context(1);    // one thread
    tcp::acceptor acceptor(context, tcp::v4(), peer_start(argc, argv, "", world, 0));
    asio::signal_set signals(context, SIGTERM);
    signals.async_wait([&context](error_code, int) { context.stop(); });
    accept(acceptor);
    context.run();
    std::_Exit(0);  // on io_uring, what waits in a context is not safe to destroy
} catch (const std::exception &e) {
    std::fprintf(stderr, "Asio: %s\n", e.what());
    return 1;
}
