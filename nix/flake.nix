{
  description = "Doorward, a reverse proxy and TLS edge gateway for a self-hosted home";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll = nixpkgs.lib.genAttrs systems;
    in
    {
      packages = forAll (system: rec {
        doorward = nixpkgs.legacyPackages.${system}.callPackage ./package.nix { };
        default = doorward;
      });
      nixosModules.default =
        { pkgs, lib, ... }:
        {
          imports = [ ./module.nix ];
          services.doorward.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.doorward;
        };
    };
}
