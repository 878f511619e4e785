# Built from the sources beside this folder. The C part of the cryptography library needs cmake.
{
  lib,
  rustPlatform,
  cmake,
}:
rustPlatform.buildRustPackage {
  pname = "doorward";
  version = (lib.importTOML ../Cargo.toml).package.version;
  src = lib.cleanSource ./..;
  cargoLock.lockFile = ../Cargo.lock;
  nativeBuildInputs = [ cmake ];
  dontUseCmakeConfigure = true;
  # They open sockets and start servers: `bash tests/run` in a checkout.
  doCheck = false;
  meta = {
    description = "Reverse proxy and TLS edge gateway for a self-hosted home";
    homepage = "https://github.com/akunito/doorward";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "doorward";
    platforms = lib.platforms.linux;
  };
}
